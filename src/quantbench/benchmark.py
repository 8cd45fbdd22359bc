"""The whole job: from a configuration and a folder to the card."""

from __future__ import annotations

import logging
from pathlib import Path

from quantbench import environment, instructions, registry
from quantbench.errors import EXIT_DONE, EXIT_SOME_FAILED, BadInput, Mistake
from quantbench.plan import make_plan
from quantbench.progress import Reporter
from quantbench.records import Config, Environment, Plan, Result
from quantbench.store import Store, write_atomically

FILE_REPORTS = ("card", "summary")
logger = logging.getLogger("quantbench")


def run(config: Config, folder: Path, only: str, reporter: Reporter) -> int:
    """Do what is still missing of a configuration; cards are written even if it is interrupted.

    Args:
        config: the validated configuration.
        folder: the output folder.
        only: glob over run names.
        reporter: told of long work.

    Returns:
        Exit code: 0 if all runs are done, 3 if some failed.

    Raises:
        BadInput: if something is wrong with the input; nothing is written then.

    """
    store = Store(folder)
    results = store.stored_for(config)
    plan = make_plan(config, results, only)
    if not plan.runs:
        write_reports(store, config, plan)
        return exit_code(store.results())
    found = _environment(config)
    from quantbench.preflight import check  # after the cap, which libraries read when they are loaded
    from quantbench.workbench import Workbench

    workbench = Workbench(store.cache, found, reporter)
    with reporter.stage("Loading model and data", 1) as advance:
        check(config, workbench, results)
        advance(1)
    store.open(config)
    try:
        for result in registry.launcher(config.base.backend.name).launch(plan.runs, store, workbench):
            store.save(result)
            if result.failure is not None:
                logger.error("%s failed in %s: %s", result.run.name, result.failure.stage, result.failure.reason)
    finally:
        write_reports(store, config, plan)
    return exit_code(store.results())


def _environment(config: Config) -> Environment:
    """The machine, capped to ``supported_instructions`` where that is set.

    Raises:
        BadInput: if the machine lacks what is required.

    """
    found = environment.detect()
    level = config.base.backend.args.get(instructions.KEY)
    if level is None:
        return found
    problem = instructions.unmet(str(level), found)
    if problem:
        raise BadInput([Mistake(config.where(f"backend.args.{instructions.KEY}"), f"{instructions.KEY}: {problem}")])
    return instructions.cap(str(level), found)


def write_reports(store: Store, config: Config, plan: Plan) -> None:
    """Render the card and the summary from what is stored."""
    results = in_order(config, store.results())
    for name in FILE_REPORTS:
        report = registry.report(name)
        write_atomically(store.folder / report.FILE, report.render(config, results, plan.skipped).encode())


def in_order(config: Config, results: list[Result]) -> list[Result]:
    """Results in the order of the configuration's grid."""
    plan = make_plan(config)
    order = {run.key: number for number, run in enumerate(plan.runs)}
    return sorted(results, key=lambda result: order.get(result.run.key, len(order)))


def exit_code(results: list[Result]) -> int:
    """0 if every stored run is done, 3 otherwise."""
    return EXIT_DONE if all(result.done for result in results) else EXIT_SOME_FAILED


def compared(first: Path, second: Path, across: bool) -> str:
    """Two output folders side by side, as Markdown.

    Raises:
        BadInput: if a folder holds no benchmark or no finished run, or the two are from unlike machines or libraries
            and ``across`` is not set.

    """
    from quantbench import comparison

    results = [in_order(Store(folder).config(), Store(folder).results()) for folder in (first, second)]
    for folder, found in zip((first, second), results, strict=True):
        if not any(result.done for result in found):
            raise BadInput([Mistake(str(folder), "holds no finished run to compare; run it first")])
    environments = [next(result.environment for result in found if result.done) for found in results]
    differing = comparison.unlike(*environments)
    if differing and not across:
        message = (
            f"were measured under unlike conditions ({'; '.join(differing)}); add --across to compare all the same"
        )
        raise BadInput([Mistake(f"{first} and {second}", message)])
    warning = f"Measured under unlike conditions: {'; '.join(differing)}.\n\n" if differing else ""
    return warning + comparison.render(*results)

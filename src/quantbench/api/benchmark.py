"""The whole job: from a configuration and a folder to the card."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.analysis import losses, machines, pairing
from quantbench.config.keys import combinations, overlap
from quantbench.config.plan import listed, make_plan, matches
from quantbench.errors import EXIT_DONE, EXIT_SOME_FAILED, BadInput, Mistake
from quantbench.plugins import registry
from quantbench.results import merge, rendered
from quantbench.results.store import Store
from quantbench.schema.base import canonical_json
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import Environment, Plan, Result, Run, Skipped
from quantbench.schema.settings import Config, Settings
from quantbench.system import cache, environment, instruction_sets, terminal
from quantbench.system.files import file_sha256
from quantbench.system.writing import write_atomically
from quantbench.tune import state

if TYPE_CHECKING:
    from quantbench.pipeline.artifacts import Workbench

FILE_REPORTS = ("card", "summary")
logger = logging.getLogger("quantbench")


@dataclass(frozen=True)
class Finished:
    """How a call ended: its exit code, and the table of all results for a terminal."""

    code: int
    table: str


def run(config: Config, folder: Path, only: str, reporter: Reporter) -> Finished:
    """Do what is still missing of a configuration; cards are written even if it is interrupted.

    Args:
        config: the validated configuration.
        folder: the output folder.
        only: which runs, see :func:`quantbench.config.plan.matches`.
        reporter: told of long work.

    Returns:
        The exit code, 0 if all runs that were asked for are done, 3 if some failed; and the table.

    Raises:
        BadInput: if something is wrong with the input; nothing is written then but what was finished before.

    """
    store = Store(folder, config.places)
    results = store.stored_for(config)
    plan = make_plan(config, results, only)
    if not plan.runs:
        return _finished(store, config, plan, results)
    found = environment_for(config, (run.settings for run in plan.runs))
    from quantbench.pipeline.artifacts import Workbench
    from quantbench.pipeline.preflight import check  # after the cap, which libraries read when they are loaded

    workbench = Workbench(cache.folder(), found, reporter, places=config.places)
    with reporter.stage("Loading model and data", 1) as advance:
        check(config, workbench, results)
        advance(1)
    coming = _launched(plan.runs, store, workbench)
    with store.claimed(config):
        try:
            for result in coming:
                store.save(result)
                if result.failure is not None:
                    logger.warning("%s failed in %s", result.run.name, result.failure.stage)  # the table says why
                    logger.debug("%s", result.failure.reason)
        finally:
            if stored := store.results():
                finished = _finished(store, config, plan, stored)
    return finished


def interrupted(folder: Path, told: str) -> str:
    """What is kept of an interrupted call; ``told`` is what the work itself said of it."""
    done = sum(result.done for result in Store(folder).results())
    more = f", {told}" if told else ", what was prepared is found again"
    return f"interrupted: {done} run(s) are finished and kept{more}; the same command goes on from there"


def environment_for(config: Config, wanted: Iterable[Settings] | None = None) -> Environment:
    """The machine, capped to ``supported_instructions`` where that is set and runs execute here.

    Args:
        config: the validated configuration.
        wanted: settings of what is to be executed in this process; those of the configuration where it is None.

    Raises:
        BadInput: if the machine lacks what is required, or runs need several caps: libraries read theirs once.

    """
    found, settings = environment.detect(), [config.base] if wanted is None else list(wanted)
    here = [item for item in settings if not registry.launcher(item.backend.name).REMOTE]
    levels = list(dict.fromkeys(item.backend.args.get(instruction_sets.KEY) for item in here))
    key = f"backend.args.{instruction_sets.KEY}"
    where = config.where(next((item.key for item in config.dimensions if overlap(item.key, key)), key))
    if len(levels) > 1:
        values = ", ".join("none" if level is None else str(level) for level in levels)
        message = (
            f"{instruction_sets.KEY} has several values for runs on this machine ({values}); a process is held to one, "
            f"so call the same command for one after another: --only '{instruction_sets.KEY}={levels[0] or 'null'}', …"
        )
        raise BadInput([Mistake(where, message)])
    level = levels[0] if levels else None
    if level is None:
        return found
    problem = instruction_sets.unmet(str(level), found)
    if problem:
        raise BadInput([Mistake(where, f"{instruction_sets.KEY}: {problem}")])
    return instruction_sets.cap(str(level), found)


def _launched(runs: Sequence[Run], store: Store, workbench: Workbench) -> Iterator[Result]:
    """Results of runs, each executed where its own backend says; one backend after another."""
    from quantbench.pipeline.worker import launch_context

    context = launch_context(store, workbench)
    for together in _by_backend(runs):
        yield from registry.launcher(together[0].settings.backend.name).launch(together, context)


def _by_backend(runs: Iterable[Run]) -> list[list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(canonical_json(run.settings.backend.model_dump(mode="json")), []).append(run)
    return list(found.values())


def _finished(store: Store, config: Config, plan: Plan, results: Sequence[Result]) -> Finished:
    """Write the reports of all results; the exit code is that of the runs that were asked for."""

    def render() -> str:
        ordered = in_order(config, results)
        write_reports(store, config, ordered, plan.skipped)
        return registry.report("table").render(config, ordered, plan.skipped)

    asked = {run.key for run in (*plan.runs, *plan.done)}
    failed = any(not result.done for result in results if result.run.key in asked)
    files = [registry.report(name).FILE for name in FILE_REPORTS]
    table = rendered.kept(store, plan.skipped, terminal.width(), files, render)
    return Finished(EXIT_SOME_FAILED if failed else EXIT_DONE, table)


def write_reports(store: Store, config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> None:
    """Render the card and the summary of results in the order of the grid."""
    for name in FILE_REPORTS:
        report = registry.report(name)
        write_atomically(store.folder / report.FILE, report.render(config, results, skipped).encode())


def render_again(folder: Path) -> None:
    """Write the reports of a folder again.

    Raises:
        BadInput: if it holds no benchmark, or a search, whose reports say more than a benchmark's.

    """
    if (folder / state.FILE).exists():
        message = "holds a search; its report is tune.md, which the same call of 'quantbench tune' writes again"
        raise BadInput([Mistake(str(folder), message)])
    store = Store(folder)
    config = store.config()
    write_reports(store, config, in_order(config, store.results()), make_plan(config).skipped)


def merged(folders: Sequence[Path], target: Path) -> merge.Merged:
    """Unite folders into ``target`` and write its reports; see :func:`quantbench.results.merge.merge`."""
    done = merge.merge(folders, target)
    render_again(target)
    return done


def requested(config: Config, folder: Path, only: str) -> str:
    """What a run of a configuration would ask its backend for, as JSON; nothing is written or started."""
    store = Store(folder, config.places)
    plan = make_plan(config, store.stored_for(config), only)
    groups = [(registry.launcher(runs[0].settings.backend.name), runs) for runs in _by_backend(plan.runs)]
    return json.dumps([request for launcher, runs in groups for request in launcher.requests(runs, store)], indent=2)


def in_order(config: Config, results: Iterable[Result]) -> list[Result]:
    """Results in the order of the configuration's grid."""
    order = {canonical_json(values): number for number, (values, _) in enumerate(combinations(config))}
    return sorted(results, key=lambda result: order.get(canonical_json(result.run.benchmarked), len(order)))


def explained(folder: Path, only: str, reporter: Reporter) -> str:
    """Why the int8 models of finished runs lose what they lose, as Markdown, which is written to ``why.md`` too.

    Args:
        folder: the output folder.
        only: which runs, see :func:`quantbench.config.plan.matches`; where it is empty, the run that lost most.
        reporter: told of long work.

    Raises:
        BadInput: if there is no such run, none with fixed ranges of activations, or its files have changed since;
            nothing is written then.

    """
    store = Store(folder)
    config = store.config()
    results = in_order(config, store.results())
    chosen = _explainable(results, only, folder)
    found = environment_for(config, (result.run.settings for result in chosen))
    from quantbench.pipeline.artifacts import Workbench
    from quantbench.pipeline.preflight import check
    from quantbench.reports import _why  # after the cap, which libraries read when they are loaded

    workbench = Workbench(cache.folder(), found, reporter, places=config.places)
    with reporter.stage("Loading model and data", 1) as advance:
        check(config, workbench, chosen)
        advance(1)
    with cache.alone(workbench.cache, reporter):
        text = _why.explain(chosen, folder, workbench)
    write_atomically(folder / _why.FILE, text.encode())
    return text


def _explainable(results: Sequence[Result], only: str, folder: Path) -> list[Result]:
    """The finished runs with fixed ranges that are named, or the one of all that lost most."""
    done = [result for result in results if result.scores]
    if not done:
        timed_only = any(result.done for result in results)
        message = (
            "that was evaluated (max_eval_samples: 0 leaves it out); run one" if timed_only else "to explain; run it"
        )
        raise BadInput([Mistake(str(folder), f"holds no finished run {message} first")])
    named = [result for result in done if matches(result.run, only or "*")]
    if not named:
        names = ", ".join(result.run.name for result in done)
        raise BadInput([Mistake(f"RUN {only}", f"matches no finished run; there is: {names}")])
    fixed = [result for result in named if has_fixed_ranges(result.run.settings)]
    if not fixed:
        names = ", ".join(f"{result.run.name} ({result.run.settings.quantization_approach})" for result in named)
        message = "there are no ranges to explain: activations are rounded with ranges fixed by calibration only by "
        message += f"quantization_approach: static, or mixed with static products, of onnxruntime; there is: {names}"
        raise BadInput([Mistake(f"RUN {only}" if only else str(folder), message)])
    for result in fixed:
        _check_file(result, folder)
    return fixed if only else [max(fixed, key=lambda result: losses.loss(result)[1])]


def has_fixed_ranges(settings: Settings) -> bool:
    """Whether a run's model rounds activations with ranges that calibration fixed, in a file that can be read."""
    if settings.framework != "onnxruntime":
        return False
    if settings.quantization_approach == "mixed":
        return "static" in {settings.placement.default, *settings.placement.matmuls.values()}
    return settings.quantization_approach == "static"


def _check_file(result: Result, folder: Path) -> None:
    artifact = result.artifact
    assert artifact is not None, "a finished run has an artifact"
    path = folder / artifact.path
    if not path.is_file() or file_sha256(path) != artifact.sha256:
        what = "has changed since the run" if path.is_file() else "is gone"
        again = f"delete results/{result.run.key}.json and run again, only this run is repeated"
        raise BadInput([Mistake(str(path), f"{what}; {again}")])


def compared(first: Path, second: Path, across: bool) -> str:
    """Two output folders side by side, as Markdown.

    Raises:
        BadInput: if a folder holds no benchmark or no finished run, or the two are from unlike machines or libraries
            and ``across`` is not set.

    """
    from quantbench.reports import _comparison

    results = [in_order(Store(folder).config(), Store(folder).results()) for folder in (first, second)]
    for folder, found in zip((first, second), results, strict=True):
        if not any(result.done for result in found):
            raise BadInput([Mistake(str(folder), "holds no finished run to compare; run it first")])
        if len(machines.by_machine(result for result in found if result.done)) > 1:
            raise BadInput([Mistake(str(folder), "holds results of several machines; compare the folders of each")])
    if not pairing.pairs(*results):
        held = " ".join(
            f"{folder} has {_names(found)}." for folder, found in zip((first, second), results, strict=True)
        )
        message = f"share no finished run, by settings or by name. {held} Compare folders of one configuration"
        raise BadInput([Mistake(f"{first} and {second}", message)])
    environments = [next(result.environment for result in found if result.done) for found in results]
    differing = machines.unlike(*environments)
    if differing and not across:
        message = (
            f"were measured under unlike conditions ({'; '.join(differing)}); add --across to compare all the same"
        )
        raise BadInput([Mistake(f"{first} and {second}", message)])
    warning = f"Measured under unlike conditions: {'; '.join(differing)}.\n\n" if differing else ""
    return warning + _comparison.render(*results)


def _names(results: Sequence[Result]) -> str:
    """The first finished runs of a folder, and how many there are beyond these."""
    return listed([result.run for result in results if result.done])

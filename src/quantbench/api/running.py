"""The whole job behind ``run``: from a configuration and a folder to results and their card."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from quantbench.api._reporters import load_bars, reporter
from quantbench.api.benchmark import FILE_REPORTS, Benchmark, write_reports
from quantbench.api.plans import by_backend
from quantbench.config.keys import overlap
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput, Mistake
from quantbench.plugins import registry
from quantbench.results import rendered
from quantbench.results.store import Store
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import Environment, Plan, Result, Run
from quantbench.schema.settings import Config, Settings
from quantbench.system import cache, environment, instruction_sets, terminal

if TYPE_CHECKING:
    from quantbench.pipeline.context import Context

logger = logging.getLogger("quantbench")


class _Measured(Benchmark):
    """A benchmark whose reports were written already: the table is at hand."""

    table = ""

    def __str__(self) -> str:
        return self.table


def run(config: Config, *, out: str | Path | None = None, only: str = "*", progress: bool = False) -> Benchmark:
    """Measure what is still missing of a configuration; cards are written even if it is interrupted.

    Args:
        config: from :func:`quantbench.load_config` or :func:`quantbench.config`.
        out: the output folder; a second call with the same configuration does only what is missing. None for a
            temporary one that lives as long as the returned object.
        only: which runs: a name, a number, a key or ``parameter=value``; globs.
        progress: whether bars are shown on standard error.

    Returns:
        All results of the folder; those of runs that were asked for and could not be finished are in ``failed``.

    Raises:
        BadInput: if something is wrong with the input; nothing is written then but what was finished before.
        Interrupted: on Ctrl-C, where the work says what is kept beside finished runs; else KeyboardInterrupt.

    """
    folder, temporary = opened(out)
    store = Store(folder, config.places)
    results = store.stored_for(config)
    plan = make_plan(config, results, only)
    if not plan.runs:
        return _finished(store, config, plan, results, temporary)
    context = checked(config, (run.settings for run in plan.runs), results, reporter(progress))
    coming = _launched(plan.runs, store, context)
    with store.claimed(config):
        try:
            for result in coming:
                store.save(result)
                if result.failure is not None:
                    logger.warning("%s failed in %s", result.run.name, result.failure.stage)  # the table says why
                    logger.debug("%s", result.failure.reason)
        finally:
            if stored := store.results():
                finished = _finished(store, config, plan, stored, temporary)
    return finished


def opened(out: str | Path | None) -> tuple[Path, TemporaryDirectory[str] | None]:
    """An output folder; where none is named a temporary one, which goes with the second value."""
    if out is not None:
        return Path(out), None
    temporary = TemporaryDirectory(prefix="quantbench-")
    return Path(temporary.name), temporary


def checked(config: Config, wanted: Iterable[Settings] | None, results: Sequence[Result], told: Reporter) -> Context:
    """What runs work with, after model and data were looked at.

    Args:
        config: the validated configuration.
        wanted: as for :func:`environment_for`.
        results: stored ones, whose model and data must be the same.
        told: of long work.

    Raises:
        BadInput: if the machine, the model or the data cannot be used.

    """
    found = environment_for(config, wanted)
    load_bars()
    from quantbench.pipeline.context import context_in
    from quantbench.pipeline.preflight import check  # after the cap, which libraries read when they are loaded

    context = context_in(cache.folder(), found, told, config.places)
    with told.stage("Loading model and data", 1) as advance:
        check(config, context, results)
        advance(1)
    return context


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


def _launched(runs: Sequence[Run], store: Store, context: Context) -> Iterator[Result]:
    """Results of runs, each executed where its own backend says; one backend after another."""
    from quantbench.pipeline.worker import launch_context

    given = launch_context(store, context)
    for together in by_backend(runs):
        yield from registry.launcher(together[0].settings.backend.name).launch(together, given)


def _finished(
    store: Store,
    config: Config,
    plan: Plan,
    results: Sequence[Result],
    temporary: TemporaryDirectory[str] | None,
) -> Benchmark:
    """All results, with reports written where something has changed since the last time."""
    asked = frozenset(run.key for run in (*plan.runs, *plan.done))
    found = _Measured(config, store.folder, results, asked=asked, temporary=temporary)

    def render() -> str:
        write_reports(found)
        return Benchmark.__str__(found)

    files = [registry.report(name).FILE for name in FILE_REPORTS]
    found.table = rendered.kept(store, plan.skipped, terminal.width(), files, render)
    return found

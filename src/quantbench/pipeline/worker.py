"""Run to Result. The one entry that every launcher executes, in its own process or as a command.

Of ``python -m quantbench.pipeline.worker run.json result.json`` the file ``run.json`` is a ``results.Job``,
``result.json`` becomes a ``results.Result``; the model is laid down beside it in ``models/<run name>``. Exit codes: 0
done, 3 failed (the result says why), 2 if the job or the folder cannot be used.

Runs are prepared one after another (export, ranges, quantization, evaluation), then timed together, so that the arms
that runs share are timed once and all arms meet the same machine. A run that fails becomes a result with its reason.
"""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from quantbench.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_SOME_FAILED, BadInput, QuantbenchError, RunFailed
from quantbench.graph.view import Graph
from quantbench.pipeline.context import Context, Watch, context_in
from quantbench.pipeline.evaluate import scores
from quantbench.pipeline.export import float_arm, float_model, graph_hash
from quantbench.pipeline.load import Loaded, fingerprints, load
from quantbench.pipeline.measure import Timed, time_runs
from quantbench.pipeline.optimize import optimize
from quantbench.pipeline.predict import scored_batch_size
from quantbench.pipeline.prepared import ARMS, Prepared
from quantbench.plugins import registry
from quantbench.plugins.protocols import LaunchContext
from quantbench.quantize.inspection import left_in_float
from quantbench.results.store import Store
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmSpec, Environment, Failure, Job, Result, Run, Scores
from quantbench.schema.settings import Settings
from quantbench.system import allocator, cache, environment, instruction_sets
from quantbench.system.progress import Bars
from quantbench.system.writing import write_atomically
from quantbench.timing import process

SCORED = {"pytorch": "original", "onnx-float": "onnx-float", "optimized": "optimized"}
"""What an arm is called where it is scored."""

logger = logging.getLogger("quantbench")


def launch_context(store: Store, context: Context) -> LaunchContext:
    """What launchers work with, from this process."""
    return LaunchContext(store, context.environment, context.reporter, lambda runs: execute(runs, store, context))


def execute(runs: Sequence[Run], store: Store, context: Context) -> Iterator[Result]:
    """Execute runs, yielding each one's result: failures as they happen, the others when they have been timed.

    The machine is held all the while: what prepares one benchmark would disturb what times another.
    """
    with cache.alone(context.cache.folder, context.reporter):
        yield from _executed(runs, store.folder, context)


def _executed(runs: Sequence[Run], folder: Path, context: Context) -> Iterator[Result]:
    ready: list[Prepared] = []
    for number, run in enumerate(runs, start=1):
        logger.info("run %d of %d: %s", number, len(runs), run.name)
        watch = Watch()
        try:
            prepared = _prepared(run, folder / "models", context, watch)
        except BadInput:
            raise  # the output folder cannot be written to, which concerns every run
        except Exception as error:
            yield _failed(run, context, "preparation", error, watch.seconds)
            continue
        if run.settings.is_timed:
            ready.append(prepared)
        else:
            yield _result(Timed(prepared), context)
    for timed in time_runs(ready, folder, context):
        if timed.error is None:
            yield _result(timed, context)
        else:
            yield _failed(timed.prepared.run, context, "timing", timed.error)


def _failed(
    run: Run, context: Context, stage: str, error: Exception, seconds: Mapping[str, float] | None = None
) -> Result:
    logger.debug("%s", "".join(traceback.format_exception(error)))
    text_of_error = " ".join(str(error).split()) or "no message"
    reason = text_of_error if isinstance(error, QuantbenchError) else f"{type(error).__name__}: {text_of_error}"
    return Result(
        run=run,
        environment=context.environment,
        failure=Failure(stage=stage, reason=reason),
        seconds=dict(seconds or {}),
    )


def _prepared(run: Run, models: Path, context: Context, watch: Watch) -> Prepared:
    """A run up to its timing: load, export, calibrate, optimize, predict, score."""
    settings = run.settings
    with watch.phase("loading"):
        loaded = load(settings, context)
    model = loaded.model
    if settings.is_timed:
        runtimes = {model.original.runtime, registry.float_runtime(settings.framework), settings.framework}
        process.prepare(runtimes, settings.time_benchmark_args.num_threads or context.threads)
    with watch.phase("export"):
        exported = float_model(settings, loaded, context)
    artifact, optimized = optimize(run, models, model, exported, context, watch)
    arms = dict(zip(ARMS, (model.original, float_arm(exported, settings), optimized), strict=True))
    scored: dict[str, tuple[Scores, bool]] = {}
    notes = list(model.notes)
    if settings.is_evaluated:
        with watch.phase("evaluation"):
            scored = _scores(run, loaded, arms, context)
        notes += [*loaded.examples.notes, *scored["original"][0].notes]
    graph = Graph.read(exported.path)
    if settings.quantization_approach != "none":
        notes += left_in_float(graph, artifact.operators)
    float_artifact = {
        "bytes": exported.bytes,
        "sha256": exported.sha256,
        "graph": graph_hash(exported, context),
    }
    return Prepared(
        run=run,
        loaded=loaded,
        arms=arms,
        artifact=artifact,
        float_artifact=float_artifact,
        scores={name: found for name, (found, _) in scored.items()},
        evaluations=sum(fresh for _, fresh in scored.values()),
        seconds=watch.seconds,
        sources=fingerprints(settings, model, context),
        notes=tuple(notes),
    )


def _scores(run: Run, loaded: Loaded, arms: Mapping[str, ArmSpec], context: Context) -> dict[str, tuple[Scores, bool]]:
    """Scores of all arms, by what they are called there, and whether they were evaluated for it."""
    batch_sizes = {"optimized": scored_batch_size(run.settings)}
    return {
        SCORED[name]: scores(arms[name], run.settings, loaded, label, context, batch_sizes.get(name))
        for name, label in zip(ARMS, ("the original", "the float export", run.name), strict=True)
    }


def _result(timed: Timed, context: Context) -> Result:
    prepared, settings = timed.prepared, timed.prepared.run.settings
    return Result(
        run=prepared.run,
        environment=context.environment,
        sources=prepared.sources,
        model_type=str(prepared.loaded.model.config.get("model_type", "")),
        original=prepared.loaded.model.original.runtime,
        artifact=prepared.artifact,
        float_artifact=prepared.float_artifact,
        scores=prepared.scores,
        evaluations=prepared.evaluations,
        latency=timed.latency,
        seconds={**prepared.seconds, **timed.seconds},
        notes=(
            *prepared.notes,
            *registry.runtime(settings.framework).notes(settings, context.environment),
            *_timed_on(settings, context),
        ),
    )


def _timed_on(settings: Settings, context: Context) -> list[str]:
    """The CPUs, priority and allocator that the arms had; none where nothing was timed or nothing is known of them."""
    if not settings.is_timed:
        return []
    threads = settings.time_benchmark_args.num_threads or context.threads
    where = environment.cpus_used(threads, context.environment)
    if not where:
        return []
    found = context.environment
    priority = f", at {found.priority} priority" if found.priority else ""
    memory = "" if found.allocator == allocator.DEFAULT else f"; the allocator {found.allocator}"
    return [f"Timed with {where}{priority}{memory}."]


def context_for(settings: Settings, at: Path, reporter: Reporter) -> Context:
    """What works on this machine, held to the ``supported_instructions`` of a run, with the cache folder ``at``.

    To be called before the libraries are loaded that are capped by it. A machine without these instructions is not
    capped: :func:`execute_job` refuses it.
    """
    found, level = environment.detect(), settings.backend.args.get(instruction_sets.KEY)
    if level is not None and instruction_sets.unmet(str(level), found) is None:
        found = instruction_sets.cap(str(level), found)
    return context_in(at, found, reporter)


def execute_job(job: Job, folder: Path, context: Context) -> Result:
    """Execute a job on this machine, with its model below ``folder``.

    Whatever is wrong with model, data or machine becomes a failed result, since nobody waits here for a message.
    """
    problem = _unfit(job.run.settings, context.environment)
    context = replace(context, places={**context.places, **job.places})
    try:
        if problem is not None:
            raise RunFailed(problem)
        cache.check()
        (result,) = execute([job.run], Store(folder), context)
    except QuantbenchError as error:
        return _failed(job.run, context, "start", error)
    return result


def _unfit(settings: Settings, machine: Environment) -> str | None:
    """Why a run cannot be executed on a machine, which nobody could know where it was sent from."""
    level = settings.backend.args.get(instruction_sets.KEY)
    problem = None if level is None else instruction_sets.unmet(str(level), machine)
    if problem is not None:
        return f"{instruction_sets.KEY}: {problem}"
    return environment.threads_problem(settings.time_benchmark_args.num_threads, machine)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m quantbench.pipeline.worker", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("run", type=Path, metavar="run.json", help="the run, a records.Job")
    parser.add_argument("result", type=Path, metavar="result.json", help="where its records.Result is written")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        job = Job.model_validate_json(given.run.read_bytes())
        context = context_for(job.run.settings, cache.folder(), Bars(console))
        result = execute_job(job, given.result.absolute().parent, context)
        write_atomically(given.result, result.model_dump_json().encode())
    except (OSError, ValidationError, BadInput) as error:
        text_of_error = str(error) if isinstance(error, BadInput) else f"{given.run}: is no job: {error}"
        console.print(f"error: {text_of_error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return EXIT_BAD_INPUT
    if result.failure is not None:
        console.print(f"failed in {result.failure.stage}: {result.failure.reason}", markup=False, soft_wrap=True)
    return EXIT_DONE if result.done else EXIT_SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())

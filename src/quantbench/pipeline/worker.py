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
import random
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from quantbench.analysis import speedups
from quantbench.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_SOME_FAILED,
    BadInput,
    Interrupted,
    QuantbenchError,
    RunFailed,
)
from quantbench.graph.view import Graph
from quantbench.pipeline import predict
from quantbench.pipeline.artifacts import Workbench
from quantbench.pipeline.optimize import optimize
from quantbench.pipeline.preflight import sources
from quantbench.pipeline.prepared import ARMS, Prepared, fitting, identity, null_name, too_large
from quantbench.plugins import registry
from quantbench.plugins.protocols import Inputs, LaunchContext
from quantbench.quantize.inspection import left_in_float
from quantbench.results.store import Store
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmSpec, Environment, Failure, Job, Latency, Noise, Result, Run, Scores
from quantbench.schema.settings import DATASET, InputLength, Settings
from quantbench.system import cache, environment, instruction_sets
from quantbench.system.progress import Bars
from quantbench.system.writing import write_atomically
from quantbench.timing import kept, self_comparison
from quantbench.timing.kept import Keeper
from quantbench.timing.session import Shape, Timings, time_arms

SCORED = {"pytorch": "original", "onnx-float": "onnx-float", "optimized": "optimized"}
"""What an arm is called where it is scored."""
DATASET_BATCHES = 8
"""Batches of evaluation examples in one pass of the shape ``dataset``."""

logger = logging.getLogger("quantbench")


def launch_context(store: Store, workbench: Workbench) -> LaunchContext:
    """What launchers work with, from this process."""
    return LaunchContext(store, workbench.environment, workbench.reporter, lambda runs: execute(runs, store, workbench))


def execute(runs: Sequence[Run], store: Store, workbench: Workbench) -> Iterator[Result]:
    """Execute runs, yielding each one's result: failures as they happen, the others when they have been timed.

    The machine is held all the while: what prepares one benchmark would disturb what times another.
    """
    with cache.alone(workbench.cache, workbench.reporter):
        yield from _executed(runs, store, workbench)


def _executed(runs: Sequence[Run], store: Store, workbench: Workbench) -> Iterator[Result]:
    ready: list[Prepared] = []
    for number, run in enumerate(runs, start=1):
        logger.info("run %d of %d: %s", number, len(runs), run.name)
        try:
            prepared = _prepare(run, store, workbench)
        except BadInput:
            raise  # the output folder cannot be written to, which concerns every run
        except Exception as error:
            yield _failed(run, workbench, "preparation", error)
            continue
        if run.settings.is_timed:
            ready.append(prepared)
        else:
            yield _result(prepared, (), {}, workbench)
    if ready:
        yield from _timed(ready, store, workbench)


def _failed(run: Run, workbench: Workbench, stage: str, error: Exception) -> Result:
    logger.debug("%s", "".join(traceback.format_exception(error)))
    text_of_error = " ".join(str(error).split()) or "no message"
    reason = text_of_error if isinstance(error, QuantbenchError) else f"{type(error).__name__}: {text_of_error}"
    return Result(
        run=run,
        environment=workbench.environment,
        failure=Failure(stage=stage, reason=reason),
        seconds=workbench.take_seconds(),
    )


def _prepare(run: Run, store: Store, workbench: Workbench) -> Prepared:
    settings = run.settings
    original, exported = workbench.original(settings), workbench.float_model(settings)
    artifact, optimized = optimize(run, store.folder / "models", workbench)
    arms = dict(zip(ARMS, (original, exported, optimized), strict=True))
    scores = _scores(run, arms, workbench) if settings.is_evaluated else {}
    float_artifact = {
        "bytes": Path(exported.path).stat().st_size,
        "sha256": exported.sha256,
        "graph": workbench.float_graph(exported),
    }
    notes = [*workbench.examples(settings).notes, *scores["original"].notes] if scores else []
    if settings.quantization_approach != "none":
        notes += left_in_float(Graph.read(Path(exported.path)), artifact.operators)
    return Prepared(run, arms, artifact, float_artifact, scores, workbench.take_seconds(), tuple(notes))


def _scores(run: Run, arms: Mapping[str, ArmSpec], workbench: Workbench) -> dict[str, Scores]:
    """Scores of all arms, by what they are called there."""
    batch_sizes = {"optimized": predict.scored_batch_size(run.settings)}
    return {
        SCORED[name]: workbench.scores(arms[name], run.settings, label, batch_sizes.get(name))
        for name, label in zip(ARMS, ("the original", "the float export", run.name), strict=True)
    }


def _timed(ready: Sequence[Prepared], store: Store, workbench: Workbench) -> Iterator[Result]:
    """Time the runs in groups of equal inputs and timing arguments, and complete their results."""
    groups: dict[str, list[Prepared]] = {}
    for prepared in ready:
        settings = prepared.run.settings
        fields = {"model_name_or_path", "batch_sizes", "input_lengths", "time_benchmark_args"}
        key = settings.model_dump_json(include=fields)
        if DATASET in settings.input_lengths or not registry.task(settings.task).PROCESSOR.HAS_LENGTH:
            key += workbench.examples(settings).fingerprint
        groups.setdefault(key, []).append(prepared)
    memory = workbench.environment.memory_bytes
    for group in groups.values():
        fits = []
        for prepared in group:
            problem = too_large(prepared, memory)
            if problem is None:
                fits.append(prepared)
            else:
                yield _failed(prepared.run, workbench, "timing", RunFailed(problem))
        for together in fitting(fits, memory):
            yield from _timed_or_failed(together, store, workbench)


def _timed_or_failed(ready: Sequence[Prepared], store: Store, workbench: Workbench) -> Iterator[Result]:
    """Time runs together; what goes wrong before or after the arms' own work fails these runs, not the others."""
    try:
        yield from _timed_together(ready, store, workbench)
    except BadInput:
        raise  # the output folder cannot be written to
    except Exception as error:
        for prepared in ready:
            yield _failed(prepared.run, workbench, "timing", error)


def _timed_together(ready: Sequence[Prepared], store: Store, workbench: Workbench) -> Iterator[Result]:
    """Time the arms of runs that belong together, each distinct arm once, and every original once more as null arm."""
    names = _arm_names(ready)
    specs = {names[identity(spec)]: spec for prepared in ready for spec in prepared.arms.values()}
    originals = {
        names[identity(prepared.arms[speedups.BASELINE])]: prepared.arms[speedups.BASELINE] for prepared in ready
    }
    specs |= {null_name(name): spec for name, spec in originals.items()}
    at = shapes(ready[0].run.settings, workbench)
    args = ready[0].run.settings.time_benchmark_args
    threads = args.num_threads or workbench.threads
    total = int(args.duration * len(specs) * len(at))
    what = f"Timing {len(specs)} arms at {len(at)} shape(s), seconds"
    with workbench.phase("timing"):
        itself = ready[0].arms["onnx-float"]
        paths = self_comparison.paths(itself, at, args, threads, workbench.environment, workbench.cache)
        keeper = _keeper(specs, at, threads, ready[0].run.settings, store, workbench)
        try:
            seen = self_comparison.between_launches(itself, at, args, threads, paths, workbench.reporter)
            with workbench.reporter.stage(what, total) as advance:
                timings = time_arms(specs, next(iter(originals)), at, args, threads, advance, keeper)
        except KeyboardInterrupt as stop:
            finished = keeper.finished(len(at), specs, args.launches)
            scored = " and scored" if any(prepared.scores for prepared in ready) else ""
            told = f"{len(ready)} more are prepared{scored}; timing goes on after {finished} of {len(at)} shape(s)"
            raise Interrupted(told) from stop
        seen = _remembered(names[identity(itself)], at, timings, seen, paths)
    seconds = workbench.take_seconds()
    for prepared in ready:
        arms = {name: names[identity(spec)] for name, spec in prepared.arms.items()}
        arms[speedups.NULL] = null_name(arms[speedups.BASELINE])
        failed = [timings.failures[key] for key in arms.values() if key in timings.failures]
        if failed:
            yield _failed(prepared.run, workbench, "timing", RunFailed(failed[0]))
            continue
        yield _result(prepared, _latency(arms, at, timings, seen), seconds, workbench)
        seconds = {}
    keeper.clear()  # whoever takes the results has stored the last one when asking for more


def _keeper(
    specs: Mapping[str, ArmSpec],
    at: Sequence[Shape],
    threads: int,
    settings: Settings,
    store: Store,
    workbench: Workbench,
) -> Keeper:
    """What keeps the shapes of this measurement in the output folder, until its results are stored."""
    data = workbench.examples(settings).fingerprint if any(not isinstance(s.input_length, int) for s in at) else ""
    pairs = [(shape.batch_size, shape.input_length) for shape in at]
    asked = kept.question(specs, pairs, settings.time_benchmark_args, threads, workbench.environment, data)
    return Keeper(store.folder, asked)


def _remembered(
    name: str, at: Sequence[Shape], timings: Timings, seen: Sequence[Noise | None], paths: Sequence[Path]
) -> list[Noise | None]:
    """What is known of the arm that was timed against itself, with what it took in this session."""
    if name in timings.failures:
        return list(seen)
    return [
        self_comparison.remember(known, measured.arms[name], shape.mixed, path)
        for known, measured, shape, path in zip(seen, timings.shapes, at, paths, strict=True)
    ]


def _arm_names(ready: Sequence[Prepared]) -> dict[str, str]:
    """A name for every distinct arm: plain where all runs share it, else with the first run that uses it."""
    names: dict[str, str] = {}
    distinct = {name: {identity(prepared.arms[name]) for prepared in ready} for name in ARMS}
    for prepared in ready:
        for name, spec in prepared.arms.items():
            names.setdefault(identity(spec), name if len(distinct[name]) == 1 else f"{name} of {prepared.run.name}")
    return names


def shapes(settings: Settings, workbench: Workbench) -> list[Shape]:
    """The shapes of the settings, with their inputs; batch sizes alone where inputs have no length."""
    has_length = registry.task(settings.task).PROCESSOR.HAS_LENGTH
    return [
        Shape(batch_size, length, _batches(batch_size, length, settings, workbench))
        for batch_size in settings.batch_sizes
        for length in (settings.input_lengths if has_length else (None,))
    ]


def _batches(batch_size: int, length: InputLength | None, settings: Settings, workbench: Workbench) -> list[Inputs]:
    """One batch of an exact length, or batches of evaluation examples drawn at random, padded to their longest."""
    processor, seed = workbench.model(settings).processor, settings.time_benchmark_args.seed
    if isinstance(length, int):
        return [processor.exact_inputs(batch_size, length, seed)]
    inputs = workbench.examples(settings).inputs
    generator = random.Random(seed)
    drawn = [[inputs[generator.randrange(len(inputs))] for _ in range(batch_size)] for _ in range(DATASET_BATCHES)]
    return [processor.collate(batch) for batch in drawn]


def _latency(
    arms: dict[str, str], at: Sequence[Shape], timings: Timings, seen: Sequence[Noise | None]
) -> tuple[Latency, ...]:
    return tuple(
        Latency(
            batch_size=shape.batch_size,
            input_length=shape.input_length,
            arms={name: measured.arms[key] for name, key in arms.items()},
            slot_seconds=measured.slot_seconds,
            extended=measured.extended,
            noise=itself,
        )
        for shape, measured, itself in zip(at, timings.shapes, seen, strict=True)
    )


def _result(
    prepared: Prepared, latency: tuple[Latency, ...], timing_seconds: dict[str, float], workbench: Workbench
) -> Result:
    return Result(
        run=prepared.run,
        environment=workbench.environment,
        sources=sources(prepared.run.settings, workbench),
        model_type=str(workbench.model(prepared.run.settings).config.get("model_type", "")),
        artifact=prepared.artifact,
        float_artifact=prepared.float_artifact,
        scores=prepared.scores,
        latency=latency,
        seconds={**prepared.seconds, **timing_seconds},
        notes=(
            *prepared.notes,
            *instruction_sets.notes(prepared.run.settings, workbench.environment),
            *_timed_on(prepared.run.settings, workbench),
        ),
    )


def _timed_on(settings: Settings, workbench: Workbench) -> list[str]:
    """The CPUs that the arms had, as a sentence; none where nothing was timed or nothing is known of them."""
    if not settings.batch_sizes:
        return []
    threads = settings.time_benchmark_args.num_threads or workbench.threads
    where = environment.cpus_used(threads, workbench.environment)
    return [f"Timed with {where}."] if where else []


def workbench_for(settings: Settings, at: Path, reporter: Reporter) -> Workbench:
    """A workbench on this machine, held to the ``supported_instructions`` of a run, with the cache folder ``at``.

    To be called before the libraries are loaded that are capped by it. A machine without these instructions is not
    capped: :func:`execute_job` refuses it.
    """
    found, level = environment.detect(), settings.backend.args.get(instruction_sets.KEY)
    if level is not None and instruction_sets.unmet(str(level), found) is None:
        found = instruction_sets.cap(str(level), found)
    return Workbench(at, found, reporter)


def execute_job(job: Job, folder: Path, workbench: Workbench) -> Result:
    """Execute a job on this machine, with its model below ``folder``.

    Whatever is wrong with model, data or machine becomes a failed result, since nobody waits here for a message.
    """
    problem = _unfit(job.run.settings, workbench.environment)
    workbench.places = {**workbench.places, **job.places}
    try:
        if problem is not None:
            raise RunFailed(problem)
        cache.check()
        (result,) = execute([job.run], Store(folder), workbench)
    except QuantbenchError as error:
        return _failed(job.run, workbench, "start", error)
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
        workbench = workbench_for(job.run.settings, cache.folder(), Bars(console))
        result = execute_job(job, given.result.absolute().parent, workbench)
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

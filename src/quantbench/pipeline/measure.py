"""Time: the arms of runs that are ready, together, so that all meet the same machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantbench.analysis import speedups
from quantbench.errors import BadInput, Interrupted, RunFailed
from quantbench.pipeline.context import Context
from quantbench.pipeline.context import Watch as StopWatch
from quantbench.pipeline.load import Loaded
from quantbench.pipeline.prepared import ARMS, Prepared, fitting, null_name, too_large
from quantbench.plugins import registry
from quantbench.plugins.examples import Inputs
from quantbench.schema.results import ArmSpec, Latency, Noise
from quantbench.schema.settings import DATASET, InputLength, Settings, TimeBenchmarkArgs
from quantbench.system import garbage
from quantbench.timing import kept, self_comparison
from quantbench.timing.kept import Keeper
from quantbench.timing.looks import Watch, launch_looks
from quantbench.timing.session import Shape, Timings, time_arms

DATASET_BATCHES = 8
"""Batches of evaluation examples in one pass of the shape ``dataset``."""


@dataclass(frozen=True)
class Timed:
    """A run with its latencies, or with the error that kept it from having them.

    Attributes:
        prepared: the run.
        latency: by shape, in the order of the shapes.
        error: why there are none.
        seconds: that the timing took, of the first of the runs that were timed together only.

    """

    prepared: Prepared
    latency: tuple[Latency, ...] = ()
    error: Exception | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def time_runs(ready: Sequence[Prepared], folder: Path, context: Context) -> Iterator[Timed]:
    """Time runs in groups of equal inputs and timing arguments, as many at once as the memory holds.

    What goes wrong fails the runs that it concerns, not the others. Shapes that are finished are kept in ``folder``
    until the group's last result was taken and more is asked for: it is stored then.

    Raises:
        BadInput: if the output folder cannot be written to.
        Interrupted: on Ctrl-C, saying what is kept.

    """
    memory = context.environment.memory_bytes
    for group in _groups(ready):
        fits = []
        for prepared in group:
            problem = too_large(prepared, memory)
            if problem is None:
                fits.append(prepared)
            else:
                yield Timed(prepared, error=RunFailed(problem))
        for together in fitting(fits, memory):
            try:
                yield from _together(together, folder, context)
            except BadInput:
                raise
            except Exception as error:
                yield from (Timed(prepared, error=error) for prepared in together)


def _groups(ready: Sequence[Prepared]) -> list[list[Prepared]]:
    """Runs whose arms are timed on equal inputs in the same way."""
    groups: dict[str, list[Prepared]] = {}
    for prepared in ready:
        settings = prepared.run.settings
        key = settings.model_dump_json(
            include={"model_name_or_path", "batch_sizes", "input_lengths", "time_benchmark_args"}
        )
        if DATASET in settings.input_lengths or not registry.task(settings.task).PROCESSOR.HAS_LENGTH:
            key += prepared.loaded.examples.fingerprint
        groups.setdefault(key, []).append(prepared)
    return list(groups.values())


def _together(ready: Sequence[Prepared], folder: Path, context: Context) -> Iterator[Timed]:
    """Time the arms of runs that belong together, each distinct arm once, and every original once more as null arm."""
    settings, watch = ready[0].run.settings, StopWatch()
    names = _arm_names(ready)
    at = shapes(settings, ready[0].loaded)
    with watch.phase("timing"):
        keeper, timings = _measured(ready, names, at, folder, context)
        noise = _noise(ready, names, at, timings, context)
    seconds = watch.seconds
    for prepared in ready:
        arms = {name: names[spec.fingerprint] for name, spec in prepared.arms.items()}
        arms[speedups.NULL] = null_name(arms[speedups.BASELINE])
        failed = [timings.failures[key] for key in arms.values() if key in timings.failures]
        if failed:
            yield Timed(prepared, error=RunFailed(failed[0]))
            continue
        yield Timed(prepared, _latency(arms, at, timings, noise[arms["onnx-float"]]), seconds=seconds)
        seconds = {}
    keeper.clear()


def _measured(
    ready: Sequence[Prepared], names: Mapping[str, str], at: Sequence[Shape], folder: Path, context: Context
) -> tuple[Keeper, Timings]:
    """The samples of all arms, and what keeps them."""
    settings = ready[0].run.settings
    args = settings.time_benchmark_args
    threads = args.num_threads or context.threads
    specs = {names[spec.fingerprint]: spec for prepared in ready for spec in prepared.arms.values()}
    originals = {names[spec.fingerprint]: spec for spec in (prepared.arms[speedups.BASELINE] for prepared in ready)}
    specs |= {null_name(name): spec for name, spec in originals.items()}
    keeper = _keeper(specs, at, threads, ready[0], folder, context)
    garbage.give_back()
    what, total = f"Timing {len(specs)} arms at {len(at)} shape(s), seconds", int(args.duration * len(specs) * len(at))
    try:
        with context.reporter.stage(what, total) as advance:
            timings = time_arms(specs, next(iter(originals)), at, args, threads, advance, keeper, Watch(advance.tell))
    except KeyboardInterrupt as stop:
        finished = keeper.finished(len(at), specs, (launch_looks(args.starts) or [args.starts])[0])
        scored = " and scored" if any(prepared.scores for prepared in ready) else ""
        told = f"{len(ready)} more are prepared{scored}; timing goes on after {finished} of {len(at)} shape(s)"
        raise Interrupted(told) from stop
    return keeper, timings


def _noise(
    ready: Sequence[Prepared], names: Mapping[str, str], at: Sequence[Shape], timings: Timings, context: Context
) -> dict[str, list[Noise | None]]:
    """What each float export differs from itself by at every shape, by the name of its arm.

    A row's noise floor is that of its own framework. Together they take no longer than the timing did.
    """
    args = ready[0].run.settings.time_benchmark_args
    threads = args.num_threads or context.threads
    floats = {names[prepared.arms["onnx-float"].fingerprint]: prepared.arms["onnx-float"] for prepared in ready}
    spent = sum(arm.seconds for shape in timings.shapes for arm in shape.arms.values())
    shorter = args.model_copy(update={"duration": min(args.duration, spent / len(floats) / len(at) / 2)})
    found = {}
    for name, spec in floats.items():
        paths = self_comparison.paths(spec, at, args, threads, context.environment, context.cache.folder)
        took = _load_seconds(timings, name)
        seen = self_comparison.between_launches(spec, at, shorter, threads, paths, context.reporter, took)
        found[name] = _remembered(name, at, timings, args, seen, paths)
    return found


def _load_seconds(timings: Timings, arm: str) -> float:
    """The longest that loading an arm has taken; 0 of one that failed."""
    return max((max(shape.arms[arm].load_seconds) for shape in timings.shapes if arm in shape.arms), default=0.0)


def _keeper(
    specs: Mapping[str, ArmSpec],
    at: Sequence[Shape],
    threads: int,
    prepared: Prepared,
    folder: Path,
    context: Context,
) -> Keeper:
    """What keeps the shapes of this measurement in the output folder, until its results are stored."""
    data = ""
    if any(not isinstance(shape.input_length, int) for shape in at):
        data = prepared.loaded.examples.fingerprint
    pairs = [(shape.batch_size, shape.input_length) for shape in at]
    asked = kept.question(specs, pairs, prepared.run.settings.time_benchmark_args, threads, context.environment, data)
    return Keeper(folder, asked)


def _remembered(
    name: str,
    at: Sequence[Shape],
    timings: Timings,
    args: TimeBenchmarkArgs,
    seen: Sequence[Noise | None],
    paths: Sequence[Path],
) -> list[Noise | None]:
    """What is known of the arm that was timed against itself, with what it took in this session."""
    if name in timings.failures:
        return list(seen)
    return [
        self_comparison.remember(known, measured.arms[name], shape.mixed, args, path)
        for known, measured, shape, path in zip(seen, timings.shapes, at, paths, strict=True)
    ]


def _arm_names(ready: Sequence[Prepared]) -> dict[str, str]:
    """A name for every distinct arm: plain where all runs share it, else with the first run that uses it."""
    names: dict[str, str] = {}
    distinct = {name: {prepared.arms[name].fingerprint for prepared in ready} for name in ARMS}
    for prepared in ready:
        for name, spec in prepared.arms.items():
            told = name if len(distinct[name]) == 1 else f"{name} of {prepared.run.name}"
            names.setdefault(spec.fingerprint, told)
    return names


def shapes(settings: Settings, loaded: Loaded) -> list[Shape]:
    """The shapes of the settings, with their inputs; batch sizes alone where inputs have no length."""
    has_length = registry.task(settings.task).PROCESSOR.HAS_LENGTH
    return [
        Shape(batch_size, length, _batches(batch_size, length, settings, loaded))
        for batch_size in settings.batch_sizes
        for length in (settings.input_lengths if has_length else (None,))
    ]


def _batches(batch_size: int, length: InputLength | None, settings: Settings, loaded: Loaded) -> list[Inputs]:
    """One batch of an exact length, or batches of evaluation examples drawn at random, padded to their longest."""
    processor, seed = loaded.model.processor, settings.time_benchmark_args.seed
    if isinstance(length, int):
        return [processor.exact_inputs(batch_size, length, seed)]
    inputs = loaded.examples.inputs
    generator = random.Random(seed)
    drawn = [[inputs[generator.randrange(len(inputs))] for _ in range(batch_size)] for _ in range(DATASET_BATCHES)]
    return [processor.collate(batch) for batch in drawn]


def _latency(
    arms: Mapping[str, str], at: Sequence[Shape], timings: Timings, seen: Sequence[Noise | None]
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

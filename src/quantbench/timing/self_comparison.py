"""A/A: how far a model seems to be from itself between starts of its processes, kept with its age.

Two processes of one file differ by something that lasts as long as they live (where their memory lies, for one), which
no interval from within one start knows of. So the float export is timed against itself in several starts of two
processes, once per machine, libraries, model and shape; the verdicts of all later benchmarks there use what was seen.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quantbench.analysis import speedups
from quantbench.analysis.undisturbed import undisturbed_ms
from quantbench.schema.base import digest
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmLatency, ArmSpec, Environment, Latency, Noise
from quantbench.schema.settings import LEAST_COMPARED, TimeBenchmarkArgs
from quantbench.system.writing import write_atomically
from quantbench.timing.session import Shape, time_arms

LAUNCHES, FEWEST_LAUNCHES = 8, 3
"""As many as there is time to load the model for, which of a large one takes longer than to time it."""
FEWEST_ROUNDS = 6
"""With fewer rounds a launch says nothing of how long its process was favoured, as one burst may decide."""
LONGEST_AGE = timedelta(days=7)
AS_NOW = timedelta(hours=1)
"""What was measured within so long stands for the machine as it is, however busy it was."""
FOLDER = "noise"


def paths(
    spec: ArmSpec, at: Sequence[Shape], args: TimeBenchmarkArgs, threads: int, environment: Environment, cache: Path
) -> list[Path]:
    """Where the cache keeps what it knows of an arm on this machine, by shape."""
    return [cache / FOLDER / f"{_key(spec, shape, args, threads, environment)}.json" for shape in at]


def between_launches(
    spec: ArmSpec,
    at: Sequence[Shape],
    args: TimeBenchmarkArgs,
    threads: int,
    paths: Sequence[Path],
    reporter: Reporter,
    load_seconds: float = 0.0,
) -> list[Noise | None]:
    """What an arm differs from itself by at each shape, from the cache where that is neither old nor too wide.

    Too wide is a noise floor above ``args.precision``: the machine was busy then, and may not be now. None where the
    duration is too short to ask, or the arm fails. ``paths`` are those of :func:`paths`, ``load_seconds`` what loading
    the model has taken.
    """
    if not args.compares_launches:
        return [None] * len(at)
    found = [_kept(path, args.precision) for path in paths]
    missing = [index for index, noise in enumerate(found) if noise is None]
    if missing:
        new = measure(spec, [at[index] for index in missing], args, threads, reporter, load_seconds)
        for index, noise in zip(missing, new, strict=True):
            found[index] = noise
            if noise is not None:
                write_atomically(paths[index], noise.model_dump_json().encode())
    return found


def remember(
    noise: Noise | None, session: ArmLatency, mixed: bool, args: TimeBenchmarkArgs, path: Path
) -> Noise | None:
    """The noise with what the arm took in a session, which the cache keeps where the arm was never as fast before.

    Where the arm was not timed against itself, the noise says that alone; None where the session was too short for it.
    """
    if noise is None and args.duration < LEAST_COMPARED:
        return None
    now = undisturbed_ms(session, mixed)
    known = noise or _read(path) or Noise(measured_at=datetime.now(UTC).isoformat(timespec="seconds"))
    if known.fastest_ms is None or now < known.fastest_ms:
        known = known.model_copy(update={"fastest_ms": now})
        write_atomically(path, known.model_dump_json().encode())
    return known.model_copy(update={"session_ms": now, **({} if noise else {"ratios": ()})})


def measure(
    spec: ArmSpec,
    at: Sequence[Shape],
    args: TimeBenchmarkArgs,
    threads: int,
    reporter: Reporter,
    load_seconds: float = 0.0,
) -> list[Noise | None]:
    """Time an arm against itself, its duration split over ``LAUNCHES`` starts, or fewer if loading takes long."""
    affordable = int(args.duration * len(at) / load_seconds) if load_seconds else LAUNCHES
    launches = min(LAUNCHES, max(FEWEST_LAUNCHES, affordable))
    split = args.model_copy(update={"launches": launches})
    specs = {speedups.BASELINE: spec, speedups.NULL: spec}
    what = f"Timing the float export against itself in {launches} launches, seconds"
    with reporter.stage(what, int(len(specs) * args.duration * len(at))) as advance:
        timings = time_arms(specs, speedups.BASELINE, at, split, threads, advance)
    if timings.failures:
        return [None] * len(at)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        _noise(Latency(batch_size=shape.batch_size, input_length=shape.input_length, arms=measured.arms), now)
        for shape, measured in zip(at, timings.shapes, strict=True)
    ]


def _noise(latency: Latency, now: str) -> Noise | None:
    ratios = []
    for launch in sorted({slot.launch for slot in latency.arms[speedups.NULL].slots}):
        arms = {
            name: arm.model_copy(update={"slots": tuple(slot for slot in arm.slots if slot.launch == launch)})
            for name, arm in latency.arms.items()
        }
        logs = speedups.log_ratios(arms[speedups.BASELINE], arms[speedups.NULL], latency.mixed)
        if len(logs) >= FEWEST_ROUNDS:
            ratios.append(statistics.median(logs.values()))
    if len(ratios) <= 1:
        return None
    fastest = min(undisturbed_ms(arm, latency.mixed) for arm in latency.arms.values())
    return Noise(ratios=tuple(ratios), measured_at=now, fastest_ms=fastest)


def _key(spec: ArmSpec, shape: Shape, args: TimeBenchmarkArgs, threads: int, environment: Environment) -> str:
    facts = {"host", "cpu_model", "instruction_sets", "cores", "versions", "cap", "allocator"}
    sizes = [{name: list(array.shape) for name, array in batch.items()} for batch in shape.batches]
    return digest(
        {
            "arm": spec.model_dump(mode="json", exclude={"path"}),
            "shape": [shape.batch_size, shape.input_length, sizes],
            "timing": [args.duration, args.warmup_runs, threads],
            "machine": environment.model_dump(mode="json", include=facts),
        }
    )


def _read(path: Path) -> Noise | None:
    """What the cache has; None where there is nothing, or it is damaged or of another version."""
    try:
        return Noise.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _kept(path: Path, precision: float) -> Noise | None:
    noise = _read(path)
    if noise is None or not noise.ratios:
        return None
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(noise.measured_at)
    except (ValueError, TypeError):  # of another version: measured anew
        return None
    narrow = speedups.launch_noise(noise.ratios, 1) <= precision
    return noise if age < (LONGEST_AGE if narrow else AS_NOW) else None

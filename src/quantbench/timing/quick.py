"""Short interleaved timings, by which a search tells what is worth trying and predicts how fast it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

from quantbench.analysis.intervals import Interval
from quantbench.analysis.undisturbed import mean, middle, session
from quantbench.errors import RunFailed
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmLatency, ArmSpec
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.timing.looks import Sieve, SlotLength
from quantbench.timing.process import ArmProcess
from quantbench.timing.session import Shape, ShapeTimings, time_arms

WARMUP = 3
SLOT_SECONDS = 0.05
"""Shorter than those of a benchmark, so that a second has rounds enough for an interval; and of one call at least."""


@dataclass(frozen=True)
class Probed:
    """What short timings tell.

    Attributes:
        seconds: of a call by arm, the geometric mean over shapes, which makes a rank independent of how long calls are.
        against: the arm that the others are held against.
        ratios: how many times as fast as that an arm is, over all shapes; none where there were too few rounds.
        failures: the reason of every arm that failed.

    """

    seconds: dict[str, float]
    against: str
    ratios: dict[str, Interval] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Pace(NamedTuple):
    """Seconds until an arm is ready, which others can be meanwhile, to load its model, and of a pass at each shape."""

    ready: float
    load: float
    passes: tuple[float, ...]


def pace(spec: ArmSpec, shapes: Sequence[Shape], threads: int) -> Pace:
    """How long an arm takes to start and for a pass over the batches of each shape.

    Raises:
        ArmFailed: if the arm does.

    """
    begin = perf_counter()
    arm = ArmProcess("onnx-float", spec, threads)
    try:
        arm.ready()
        ready, passes = perf_counter() - begin, []
        arm.load()
        for shape in shapes:
            arm.ask("shape", [dict(batch) for batch in shape.batches])
            passes.append(sum(arm.ask("warm", 1)) / 1e9)
    finally:
        arm.close()
    return Pace(ready, arm.load_seconds, tuple(passes))


def probe(
    specs: Mapping[str, ArmSpec],
    against: Collection[str],
    shapes: Sequence[Shape],
    final: TimeBenchmarkArgs,
    threads: int,
    reporter: Reporter,
    rounds: int,
    bar: float,
    most: float,
) -> Probed:
    """Time every arm until it is clear on which side of a bar its ratio to the fastest of some lies.

    Args:
        specs: the arms; what is the same file with the same options is timed once.
        against: those whose fastest the others are held against.
        shapes: where.
        final: arguments of the final timing, than which no probe is longer.
        threads: of every arm.
        reporter: is told.
        rounds: most of them at each shape.
        bar: the ratio that an arm is to reach.
        most: seconds after which an interval that contains the bar is left so.

    Raises:
        RunFailed: if all arms fail that the others could be held against.

    """
    slot = min(SLOT_SECONDS, final.duration / rounds)
    args = TimeBenchmarkArgs(duration=slot * rounds, warmup_runs=WARMUP, launches=1, seed=final.seed)
    firsts: dict[str, str] = {}
    same = {name: firsts.setdefault(spec.fingerprint, name) for name, spec in specs.items()}
    timed = {name: spec for name, spec in specs.items() if same[name] == name}
    sieve = Sieve({same[name] for name in against}, bar, rounds, SlotLength(slot, 1), perf_counter() + most)
    total = int(args.duration * len(timed) * len(shapes))
    with reporter.stage(f"Probing {len(timed)} versions at {len(shapes)} shape(s), seconds", total) as advance:
        timings = time_arms(timed, next(iter(timed)), shapes, args, threads, advance, watch=sieve)
    failures = {name: timings.failures[same[name]] for name in specs if same[name] in timings.failures}
    left = [name for name in specs if name not in failures]
    plain = {name: mean_seconds([shape.arms[same[name]] for shape in timings.shapes]) for name in left}
    first = min((name for name in against if name in plain), key=lambda name: plain[name], default=None)
    if first is None:
        raise RunFailed(next(iter(failures.values()), "nothing could be timed"))
    ratios = {name: _ratio(timings.shapes, shapes, same[name], same[first]) for name in left if name != first}
    known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    # of the same rounds: an arm that was let go early met another state of the machine than the others later
    seconds = {name: plain[first] / known[name].value if name in known else plain[name] for name in left}
    return Probed(seconds, first, known, failures)


def _ratio(timings: Sequence[ShapeTimings], shapes: Sequence[Shape], arm: str, against: str) -> Interval | None:
    """How many times as fast an arm is, over all shapes; None with too few rounds at one of them."""
    if arm == against:
        return Interval(1.0, 1.0, 1.0)
    found = []
    for shape, measured in zip(shapes, timings, strict=True):
        rounds = session({name: measured.arms[name] for name in (arm, against)}, shape.mixed)
        if rounds is None:
            return None
        found.append(rounds.ratio(arm, against))
    return mean(found).interval.exp()


def mean_seconds(arms: Sequence[ArmLatency]) -> float:
    """Geometric mean over shapes of the median over slots of a call's seconds."""
    medians = [statistics.median(middle(slot, mixed=False) for slot in arm.slots) for arm in arms]
    return math.exp(statistics.fmean(math.log(value / 1e9) for value in medians))

"""Short interleaved timings, by which a search predicts which versions are worth trying."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from quantbench.analysis.undisturbed import middle
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmLatency, ArmSpec
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.timing.session import Shape, time_arms

WARMUP = 3


def probe(
    specs: Mapping[str, ArmSpec],
    shapes: Sequence[Shape],
    final: TimeBenchmarkArgs,
    threads: int,
    reporter: Reporter,
    seconds: float,
) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of a call of every arm, and the reason for every arm that failed.

    Over several shapes the geometric mean, which makes a version's rank independent of how long their calls are. No
    probe is longer than ``seconds`` or than the final timing, whose arguments are given.
    """
    seconds = min(seconds, final.duration)
    args = TimeBenchmarkArgs(duration=seconds, warmup_runs=WARMUP, seed=final.seed)
    total = int(seconds * len(specs) * len(shapes))
    with reporter.stage(f"Probing {len(specs)} versions at {len(shapes)} shape(s), seconds", total) as advance:
        timings = time_arms(specs, next(iter(specs)), shapes, args, threads, advance)
    names = [name for name in specs if name not in timings.failures]
    return {name: mean_seconds([shape.arms[name] for shape in timings.shapes]) for name in names}, timings.failures


def mean_seconds(arms: Sequence[ArmLatency]) -> float:
    """Geometric mean over shapes of the median over slots of a call's seconds."""
    medians = [statistics.median(middle(slot, mixed=False) for slot in arm.slots) for arm in arms]
    return math.exp(statistics.fmean(math.log(value / 1e9) for value in medians))

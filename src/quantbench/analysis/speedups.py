"""Speedups, noise floor and other figures of raw samples, computed whenever a report is rendered; none is stored."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

from quantbench.analysis.intervals import Interval, holm, verdict
from quantbench.analysis.undisturbed import Place, Ratio, Session, middles, session
from quantbench.schema.memo import once
from quantbench.schema.results import ArmLatency, Latency, Result
from quantbench.schema.settings import FEWEST_STARTS

PERCENTILE_COUNTS = {50: 1, 90: 64, 95: 130, 99: 662}
"""Samples below which a percentile is not printed: early-stopping counts of MLPerf LoadGen at 99 % confidence."""
FLOOR_ALPHA = 0.01
"""Error probability of the noise floor: below that of a verdict, as rows that share a process err together."""
SAME_SPEED = 0.95
"""A machine at a lower share of its speed is in another state."""
BASELINE = "pytorch"
NULL = "null"
COMPARED = (("optimized", "pytorch"), ("optimized", "onnx-float"), ("onnx-float", "pytorch"))
"""Pairs of arms whose ratio is a speedup of the first over the second."""
Standing = Literal["faster", "not faster", "unknown"]


@dataclass(frozen=True)
class Speedup:
    """How much faster one arm is than another at a shape; above 1 is faster.

    ``interval`` is None with too few rounds. ``verdict`` is faster, slower or inconclusive. ``unstable``: the interval
    stayed wider than asked for although the duration was doubled. ``rounds`` are those that it was found from.
    """

    arm: str
    against: str
    ratio: float
    interval: Interval | None
    verdict: str
    unstable: bool = False
    rounds: int = 0


@dataclass(frozen=True)
class Timed:
    """What a speedup is asked of: the arm at a shape, the arm that it is held against, and the wished half width."""

    latency: Latency
    arm: str
    against: str
    precision: float


@once
def samples_ms(arm: ArmLatency) -> tuple[float, ...]:
    """All timed calls of an arm in milliseconds."""
    return tuple([value / 1e6 for slot in arm.slots for value in slot.nanoseconds])


@once
def mean_ms(arm: ArmLatency) -> float:
    """Mean over all timed calls of an arm, in milliseconds."""
    return statistics.fmean(samples_ms(arm))


@once
def percentile_ms(arm: ArmLatency, percent: int) -> float | None:
    """A percentile of the latency in milliseconds; None with too few samples for it."""
    values = sorted(samples_ms(arm))
    if len(values) < PERCENTILE_COUNTS[percent]:
        return None
    if percent == 50:
        return statistics.median(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def calls_per_second(arm: ArmLatency) -> float:
    """Calls per second of measured time."""
    return 1000 / mean_ms(arm)


def log_ratios(slow: ArmLatency, fast: ArmLatency, mixed: bool = False) -> dict[Place, float]:
    """Logarithms of the ratio of two arms' slots, one per round in which both have one, in the order of the rounds.

    Positive: the second is faster. These are differences within rounds, for arms of the same file: it differs from
    itself by the same in every state of the machine.

    Args:
        slow: the arm that is compared against.
        fast: the arm that is compared.
        mixed: whether calls differ in length, so that a slot is its mean over whole passes instead of its median.

    """
    first, second = middles(slow, mixed), middles(fast, mixed)
    return {place: math.log(first[place] / second[place]) for place in sorted(first.keys() & second.keys())}


@once
def noise_floor(latency: Latency) -> float | None:
    """Distance from 1 that the ratio of a model to itself reaches on this machine; None where that is not known.

    The larger of two: the far end of the null arm's interval, which is measured in the same rounds as all others, so
    that it meets the same machine at the same time; and :func:`launch_noise`, which knows what lasts as long as a
    process does.
    """
    found = log_ratio(latency, NULL, BASELINE) if NULL in latency.arms else None
    if found is None:
        return None
    interval = found.interval
    launches, ratios = len(latency.arms[NULL].load_seconds), _of_launches(latency)
    between = launch_noise(ratios, launches) if len(ratios) > 1 else 0.0
    return max(math.expm1(max(abs(interval.low), abs(interval.high))), between)


def _of_launches(latency: Latency) -> tuple[float, ...]:
    """What a model differed from itself by in each of several launches: in this session, or as the cache knows it."""
    if latency.noise is not None and latency.noise.ratios:
        return latency.noise.ratios
    by_launch: dict[int, list[float]] = {}
    for (launch, _), ratio in log_ratios(latency.arms[BASELINE], latency.arms[NULL], latency.mixed).items():
        by_launch.setdefault(launch, []).append(ratio)
    return tuple(map(statistics.median, by_launch.values()))


def launch_noise(ratios: Sequence[float], launches: int) -> float:
    """Distance from 1 that the ratio of a model to itself exceeds in one of 100 measurements of so many launches.

    Student's quantile times the root mean square of the launches that were seen (their true mean is zero): a prediction
    limit for the mean of ``launches`` new ones.
    """
    count = len(ratios)
    power = statistics.fmean(ratio**2 for ratio in ratios)
    return math.expm1(float(stdtrit(count, 1 - FLOOR_ALPHA / 2)) * math.sqrt(power / launches))


def machine_speed(latency: Latency) -> float | None:
    """How fast the machine was at best in a session, as a share of the fastest it has been seen; None if not known.

    It is that of the float export. Below 1 the machine was in another state all the time, so that no round of the
    session shows what the undisturbed machine does.
    """
    noise = latency.noise
    if noise is None or noise.fastest_ms is None or noise.session_ms is None:
        return None
    return noise.fastest_ms / noise.session_ms


def speedups(results: Sequence[Result]) -> dict[tuple[str, int], list[Speedup]]:
    """Speedups of all runs at all shapes, by run key and place of the shape, judged together.

    P-values are corrected by Holm for the number of rows, separately for each pair of arms.
    """
    rows = [(result, index) for result in results for index in range(len(result.latency))]
    found: dict[tuple[str, int], list[Speedup]] = {(result.run.key, index): [] for result, index in rows}
    for arm, against in COMPARED:
        timed = [
            Timed(result.latency[index], arm, against, result.run.settings.time_benchmark_args.precision)
            for result, index in rows
        ]
        for (result, index), speedup in zip(rows, judged(timed), strict=True):
            found[result.run.key, index].append(speedup)
    return found


def judged(rows: Sequence[Timed]) -> list[Speedup]:
    """The speedup of every row, judged together: p-values are corrected by Holm for their number."""
    ratios = [log_ratio(row.latency, row.arm, row.against) for row in rows]
    adjusted = holm([1.0 if ratio is None else ratio.p_value for ratio in ratios])
    return [_speedup(*found) for found in zip(rows, ratios, adjusted, strict=True)]


def _speedup(row: Timed, found: Ratio | None, p_value: float) -> Speedup:
    latency, arm, against = row.latency, row.arm, row.against
    if found is None:
        plain = mean_ms(latency.arms[against]) / mean_ms(latency.arms[arm])
        return Speedup(arm, against, plain, None, "inconclusive")
    interval = found.interval.exp()
    floor = noise_floor(latency)
    word = "inconclusive" if floor is None else verdict(interval, p_value, floor)
    wide = latency.extended and found.interval.half_width > row.precision
    return Speedup(arm, against, interval.value, interval, word, wide, found.rounds)


@once
def log_ratio(latency: Latency, arm: str, against: str) -> Ratio | None:
    """How many times as fast as another an arm is at a shape, as a logarithm; None with too few rounds.

    What lasts as long as a process does is in it as far as it is known: from the session's own launches, or, where
    these are few, from the float export against itself and from the null arm; not in that of the null arm, which is to
    show it.
    """
    found = _session(latency)
    if found is None:
        return None
    ratio = found.ratio(arm, against)
    if NULL in (arm, against) or NULL not in latency.arms or latency.noise is None or not latency.noise.ratios:
        return ratio
    launches = len(latency.arms[NULL].load_seconds)
    if launches >= FEWEST_STARTS:
        return ratio
    seen = (*latency.noise.ratios, math.sqrt(launches) * found.ratio(NULL, BASELINE).value)
    spread = math.sqrt(statistics.fmean(value**2 for value in seen) / launches)
    return ratio.widened(spread, len(seen))


@once
def _session(latency: Latency) -> Session | None:
    return session(latency.arms, latency.mixed)


@once
def drift(arm: ArmLatency) -> float:
    """Steady-state diagnostic: median of the last third of slots over that of the first third; 1 is steady."""
    medians = [statistics.median(slot.nanoseconds) for slot in arm.slots]
    third = max(1, len(medians) // 3)
    return statistics.median(medians[-third:]) / statistics.median(medians[:third])


def retention(result: Result, metric: str, difference: Interval) -> dict[float, str]:
    """Whether the optimized model keeps 99 % and 99.9 % of a metric (MLPerf Inference): yes, no or undecided."""
    original = result.scores["original"].metrics[metric]
    found = {}
    for share in (0.99, 0.999):
        limit = -(1 - share) * abs(original)
        found[share] = "yes" if difference.low >= limit else "no" if difference.high < limit else "undecided"
    return found


def standing(result: Result) -> Standing:
    """Whether a run's optimized model is faster than the original.

    Faster: at one shape at least, and on the geometric mean over all shapes. Unknown where a shape has no interval.
    """
    judged = [
        speedup
        for speedups_of in speedups([result]).values()
        for speedup in speedups_of
        if (speedup.arm, speedup.against) == COMPARED[0]
    ]
    if any(speedup.interval is None for speedup in judged):
        return "unknown"
    mean = math.fsum(math.log(speedup.ratio) for speedup in judged)
    return "faster" if mean > 0 and any(speedup.verdict == "faster" for speedup in judged) else "not faster"


def twins(results: Sequence[Result]) -> dict[str, str]:
    """By run key, what computes exactly the same in the same framework: another run, or ``the original``."""
    found: dict[str, str] = {}
    first: dict[tuple[str, str], str] = {}
    for result in results:
        if result.artifact is None:
            continue
        graph = result.artifact.graph
        same = (result.run.settings.framework, graph)
        if graph == result.float_artifact.get("graph"):
            found[result.run.key] = "the original (nothing was quantized)"
        elif same in first:
            found[result.run.key] = first[same]
        first.setdefault(same, result.run.name)
    return found


def shape_name(latency: Latency) -> str:
    """A shape as batch size times input length, or the batch size alone where inputs have no length."""
    if latency.input_length is None:
        return str(latency.batch_size)
    return f"{latency.batch_size} × {latency.input_length}"

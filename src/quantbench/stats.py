"""What is computed from raw samples. Nothing here is stored."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from quantbench.records import ArmLatency, Latency, Result

PERCENTILE_COUNTS = {50: 1, 90: 64, 95: 130, 99: 662}
"""Samples below which a percentile is not printed: early-stopping counts of MLPerf LoadGen at 99 % confidence."""


def samples_ms(arm: ArmLatency) -> list[float]:
    """All timed calls of an arm in milliseconds."""
    return [value / 1e6 for slot in arm.slots for value in slot.nanoseconds]


def mean_ms(arm: ArmLatency) -> float:
    """Mean latency in milliseconds."""
    return statistics.fmean(samples_ms(arm))


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


def speedup(latency: Latency, arm: str = "optimized", against: str = "pytorch") -> float:
    """Ratio of the mean latencies; above 1 the arm is faster."""
    return mean_ms(latency.arms[against]) / mean_ms(latency.arms[arm])


def twins(results: Sequence[Result]) -> dict[str, str]:
    """What else computes exactly the same as a run: another run's name, or ``the original``, by run key."""
    found: dict[str, str] = {}
    first: dict[str, str] = {}
    for result in results:
        if result.artifact is None:
            continue
        graph = result.artifact.graph
        if graph == result.float_artifact.get("graph"):
            found[result.run.key] = "the original (nothing was quantized)"
        elif graph in first:
            found[result.run.key] = first[graph]
        first.setdefault(graph, result.run.name)
    return found

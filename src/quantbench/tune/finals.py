"""What a finalist is judged by: its loss and time, and whether it keeps within what it may lose and take up."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.analysis import losses
from quantbench.schema.results import Result
from quantbench.timing import quick
from quantbench.tune.search import Footprint, Limit


def keeps_within(result: Result, limits: Sequence[Limit], most: Footprint) -> bool:
    """Whether a result keeps within all limits; what the system does not tell is not held against it."""
    size = result.artifact.bytes if result.artifact else 0
    for count, largest in ((size, most.size), (peak_memory(result), most.memory)):
        if largest is not None and count > largest:
            return False
    differences, original = losses.differences(result), result.scores["original"].metrics
    return all(-differences[limit.metric].value <= limit.absolute(original[limit.metric]) for limit in limits)


def loss_of(result: Result, metric: str) -> float:
    """How much of a metric is lost, original minus optimized."""
    return result.scores["original"].metrics[metric] - result.scores["optimized"].metrics[metric]


def optimized_seconds(result: Result) -> float:
    """Geometric mean over shapes of the optimized arm's call."""
    return quick.mean_seconds([latency.arms["optimized"] for latency in result.latency])


def peak_memory(result: Result, arm: str = "optimized") -> int:
    """Bytes of the process that was timed with an arm, at its peak; 0 where the system does not tell."""
    return max((peak for latency in result.latency for peak in latency.arms[arm].peak_memory_bytes), default=0)

"""What the reports of many results ask for, computed before by all cores; the reports then find it kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from quantbench.analysis import losses, speedups
from quantbench.analysis.intervals import single_threaded
from quantbench.schema.results import Result
from quantbench.system.environment import usable_cores

FEWEST = 8
"""Of fewer results a report is made as soon as threads are."""


def compute(results: Sequence[Result]) -> None:
    """Draw losses and speedups of all results, several at a time."""
    done = [result for result in results if result.done]
    if len(done) < FEWEST:
        return
    with single_threaded(), ThreadPoolExecutor(usable_cores()) as threads:
        _draw(done[0])  # what all share is made once, and then found
        list(threads.map(_draw, done[1:]))


def _draw(result: Result) -> None:
    if result.scores:
        losses.differences(result)
    for latency in result.latency:
        for arm, against in speedups.COMPARED:
            speedups.log_ratio(latency, arm, against)
        speedups.noise_floor(latency)

"""What the reports of many results ask for, computed before by all cores; the reports then find it kept."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import NamedTuple

from quantbench.analysis import losses, speedups
from quantbench.analysis.intervals import Interval
from quantbench.analysis.undisturbed import Ratio
from quantbench.schema import memo
from quantbench.schema.results import Result
from quantbench.system.environment import usable_cores

FEWEST = 100
"""Of fewer results a report is made as soon as processes are."""
TOGETHER = 25
"""Results that a process is given at a time."""
FORK = "fork"
"""Results are in memory already, and need not be sent to a process that begins as a copy of this one."""


class Figures(NamedTuple):
    """What takes long to find of a result: losses, and by shape the ratios of its arms and the noise floor."""

    losses: dict[str, Interval] | None
    ratios: list[list[Ratio | None]]
    floors: list[float | None]


def compute(results: Sequence[Result]) -> None:
    """Draw losses and speedups of all results, several at a time; nothing where processes cannot be copied."""
    done = [result for result in results if result.done]
    if len(done) < FEWEST or FORK not in multiprocessing.get_all_start_methods():
        return
    figures(done[0])  # what all share is made once, and then found
    with multiprocessing.get_context(FORK).Pool(usable_cores(), _take, (done,)) as processes:
        for result, found in zip(done, processes.imap(_figures_at, range(len(done)), TOGETHER), strict=True):
            _keep(result, found)


def figures(result: Result) -> Figures:
    """What takes long, as the reports' own functions find it."""
    return Figures(
        losses.differences(result) if result.scores else None,
        [[speedups.log_ratio(latency, *pair) for pair in speedups.COMPARED] for latency in result.latency],
        [speedups.noise_floor(latency) for latency in result.latency],
    )


def _keep(result: Result, found: Figures) -> None:
    if found.losses is not None:
        memo.put(losses.differences, result, (), found.losses)
    for latency, ratios, floor in zip(result.latency, found.ratios, found.floors, strict=True):
        memo.put(speedups.noise_floor, latency, (), floor)
        for pair, ratio in zip(speedups.COMPARED, ratios, strict=True):
            memo.put(speedups.log_ratio, latency, pair, ratio)


_results: list[Result] = []
"""Those of a process that is a copy."""


def _take(results: list[Result]) -> None:
    _results[:] = results


def _figures_at(index: int) -> Figures:
    found = figures(_results[index])
    for ratio in (ratio for ratios in found.ratios for ratio in ratios if ratio is not None):
        _ = ratio.p_value  # found with its interval, and sent along
    return found

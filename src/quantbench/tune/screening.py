"""Which candidates are in question on a machine: the rule of the screening, pure.

A candidate's version with everything in int8 is the fastest that it has, since each step of its schedule computes more
in float. If that is not faster than the fastest model without int8, nothing in between can be worth its loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from quantbench.analysis.intervals import Interval
from quantbench.plugins.quantizing import Candidate, Reads
from quantbench.tune.search import Verdict

Standing = Literal["in question", "out", "not looked at", "without int8"]
WORTH = 1.03
"""Times as fast as the fastest without int8 that a candidate must be able to be."""
DEAREST: tuple[Reads, ...] = ("nothing", "ranges", "statistics", "samples")
"""What quantizers read of the calibration split, by what it takes to make a version of it."""
ROUGH_SAMPLES = 8
"""Calibration samples of a version that is only timed: ranges make it no faster or slower."""


def in_order(candidates: Sequence[Candidate], reads: Mapping[str, Reads]) -> list[Candidate]:
    """Those without int8, which all others are held against, and then the cheapest to make first."""
    return sorted(candidates, key=lambda candidate: (not candidate.plain, DEAREST.index(reads[candidate.name])))


def by_speed(speed: Interval, against: str) -> tuple[Standing, str]:
    """What the time of a candidate's first version says of it, and why if it is out.

    Args:
        speed: how many times as fast it is.
        against: the fastest without int8.

    """
    if speed.high < WORTH:
        return "out", f"at most {speed.high:.2f} times as fast as {against}, with everything in int8"
    return "in question", ""


def by_loss(verdict: Verdict, mends: bool) -> tuple[Standing, str]:
    """What the loss of a candidate's first version on the first examples says of it, and why if it is out.

    Args:
        verdict: on the loss.
        mends: whether the candidate has products that can be computed in float instead.

    """
    if verdict == "fails" and not mends:
        return "out", "loses more than allowed, and nothing of it can be put back into float"
    return "in question", ""

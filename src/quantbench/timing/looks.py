"""When a measurement looks at its own intervals to see whether it may stop.

Whoever stops as soon as an interval happens to be narrow stops too often where it is narrow by chance. Few looks, each
a good deal later than the one before, leave little room for that (group-sequential designs: Pocock, 1977), and a width
is no verdict: it says nothing of where the interval lies (Chow and Robbins, 1965, on intervals of fixed width).
``python -m bench stopping`` simulates what is left of the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from quantbench.analysis.undisturbed import session, undisturbed_ms, widest
from quantbench.schema.results import ArmLatency
from quantbench.schema.settings import FEWEST_STARTS, TimeBenchmarkArgs

SOONEST = 0.25
"""The first look, as a share of the duration."""
LOOKS = 4
"""The last of so many is at the duration itself; each comes after as many times as long as the one before."""
LONGEST = 2.0
"""Most of the duration that is spent where no look found what was asked for."""


LAUNCH_LOOKS = (0.5, 0.7, 1.0, 1.4, LONGEST)
"""Shares of the launches after which intervals are looked at."""


def launch_looks(launches: int) -> list[int]:
    """After how many launches intervals are looked at, where so many share the duration; after the last it ends.

    None where launches are too few to tell what they differ by.
    """
    if launches < FEWEST_STARTS:
        return []
    return sorted({max(FEWEST_STARTS, round(share * launches)) for share in LAUNCH_LOOKS})


@dataclass(frozen=True)
class SlotLength:
    """The least that a slot has: seconds, and timed calls.

    Where a shape has several batches they are always called in whole passes.
    """

    seconds: float
    calls: int


USUAL = SlotLength(0.1, 3)


class Observer(Protocol):
    """Looks at a measurement while it goes on, and says how long its slots are."""

    @property
    def slots(self) -> SlotLength:
        """How long a slot is at least."""
        ...

    def looks(self, duration: float, slot: float, /) -> list[float]:
        """Seconds per arm after which intervals are looked at, of a duration and slots of so many seconds; rising."""
        ...

    def unsettled(
        self, arms: Mapping[str, ArmLatency], baseline: str, mixed: bool, args: TimeBenchmarkArgs, whole: bool
    ) -> Collection[str]:
        """The arms that are to be timed until the next look; none ends the measurement. See :meth:`Watch.enough`."""
        ...

    def enough_launches(
        self, arms: Mapping[str, ArmLatency], baseline: str, mixed: bool, args: TimeBenchmarkArgs
    ) -> bool:
        """Whether no more launches are needed at a shape, of those that :func:`launch_looks` asks after."""
        ...


@dataclass(frozen=True)
class Watch:
    """Ends a measurement where every interval is as narrow as ``precision``, at twice the duration in any case.

    Attributes:
        tell: told after every look how narrow the widest interval is.
        slots: how long they are at least.

    """

    tell: Callable[[str], None]
    slots: SlotLength = USUAL

    def looks(self, duration: float, _slot: float = 0.0, /) -> list[float]:
        """Seconds per arm after which intervals are looked at, however long the slots are."""
        growth = SOONEST ** (-1 / (LOOKS - 1))
        sooner = [duration / growth**left for left in range(LOOKS - 1, 0, -1)]
        return [*sooner, duration, growth * duration, LONGEST * duration]

    def unsettled(
        self, arms: Mapping[str, ArmLatency], baseline: str, mixed: bool, args: TimeBenchmarkArgs, whole: bool
    ) -> Collection[str]:
        """All arms or none: every arm of a benchmark is timed for as long as the others."""
        return () if self.enough(arms, baseline, mixed, args, whole) else arms

    def enough(
        self, arms: Mapping[str, ArmLatency], baseline: str, mixed: bool, args: TimeBenchmarkArgs, whole: bool
    ) -> bool:
        """Whether the ratio of every arm to the baseline is known as precisely as was asked for.

        A duration that is too short for any interval is what was asked for, too: it is not doubled.

        Args:
            arms: what one launch has measured; several launches are as precise as all of them together.
            baseline: the arm that the others' ratios are to.
            mixed: whether calls differ in length.
            args: the precision and the number of launches.
            whole: whether the duration is over.

        """
        width = widest(arms, baseline, mixed)
        if width is None:
            return whole
        self.tell(f"intervals of ±{100 * math.expm1(width / math.sqrt(args.starts)):.1f} % or narrower")
        return width <= args.precision * math.sqrt(args.starts)

    def enough_launches(
        self, arms: Mapping[str, ArmLatency], baseline: str, mixed: bool, args: TimeBenchmarkArgs
    ) -> bool:
        """Whether every interval is as narrow as asked for; with too few rounds for any, whether the duration is over.

        Args:
            arms: what all launches have measured so far.
            baseline: the arm that the others' ratios are to.
            mixed: whether calls differ in length.
            args: the precision, and the duration that the launches share.

        """
        width = widest(arms, baseline, mixed)
        if width is None:
            return all(arm.seconds >= args.duration for arm in arms.values())
        self.tell(f"intervals of ±{100 * math.expm1(width):.1f} % or narrower")
        return width <= args.precision


@dataclass(frozen=True)
class Sieve:
    """Ends the timing of each arm where its interval lies on one side of a bar, and all with the last of them.

    Attributes:
        against: the arms of which the fastest at the first look is what the others' ratios are to.
        bar: the ratio, above 1, that is asked of an arm.
        rounds: most of them; the first look is after half.
        slots: how long they are at least.
        until: when no arm is timed any longer, by ``time.perf_counter``; all have the first half of the rounds.

    """

    against: Collection[str]
    bar: float
    rounds: int
    slots: SlotLength
    until: float = math.inf

    def looks(self, _duration: float, slot: float, /) -> list[float]:
        """After half, three quarters and all of the rounds."""
        return [slot * self.rounds * part / 4 for part in (2, 3, 4)]

    def unsettled(
        self, arms: Mapping[str, ArmLatency], _baseline: str, mixed: bool, _args: TimeBenchmarkArgs, _whole: bool
    ) -> Collection[str]:
        """The arms whose intervals contain the bar, and the one that they are held against."""
        first = fastest(arms, self.against, mixed)
        if first is None or perf_counter() > self.until:
            return ()
        bar, wide = math.log(self.bar), []
        for name in arms.keys() - set(self.against):
            found = session({first: arms[first], name: arms[name]}, mixed)
            interval = found.ratio(name, first).interval if found else None
            if interval is None or interval.low <= bar <= interval.high:
                wide.append(name)
        return (first, *wide) if wide else ()

    def enough_launches(
        self, _arms: Mapping[str, ArmLatency], _baseline: str, _mixed: bool, _args: TimeBenchmarkArgs
    ) -> bool:
        """Always: probes have one launch."""
        return True


def fastest(arms: Mapping[str, ArmLatency], among: Collection[str], mixed: bool) -> str | None:
    """The fastest of some arms: of those that were timed longest, as the others were let go when they were slower."""
    there = [name for name in among if name in arms and arms[name].slots]
    longest = max((len(arms[name].slots) for name in there), default=0)
    left = [name for name in there if len(arms[name].slots) == longest]
    return min(left, key=lambda name: undisturbed_ms(arms[name], mixed), default=None)

"""When a measurement looks at its own intervals to see whether it may stop.

Whoever stops as soon as an interval happens to be narrow stops too often where it is narrow by chance. Few looks, each
a good deal later than the one before, leave little room for that (group-sequential designs: Pocock, 1977), and a width
is no verdict: it says nothing of where the interval lies (Chow and Robbins, 1965, on intervals of fixed width).
``python -m bench stopping`` simulates what is left of the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantbench.analysis.undisturbed import widest
from quantbench.schema.results import ArmLatency
from quantbench.schema.settings import TimeBenchmarkArgs

SOONEST = 0.25
"""The first look, as a share of the duration."""
LOOKS = 4
"""The last of so many is at the duration itself; each comes after as many times as long as the one before."""
LONGEST = 2.0
"""Most of the duration that is spent where no look found what was asked for."""


@dataclass(frozen=True)
class Watch:
    """Ends a measurement where every interval is as narrow as ``precision``, at twice the duration in any case.

    Attributes:
        tell: told after every look how narrow the widest interval is.

    """

    tell: Callable[[str], None]

    def looks(self, duration: float) -> list[float]:
        """Seconds per arm after which intervals are looked at."""
        growth = SOONEST ** (-1 / (LOOKS - 1))
        sooner = [duration / growth**left for left in range(LOOKS - 1, 0, -1)]
        return [*sooner, duration, growth * duration, LONGEST * duration]

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
        self.tell(f"intervals of ±{100 * math.expm1(width / math.sqrt(args.launches)):.1f} % or narrower")
        return width <= args.precision * math.sqrt(args.launches)

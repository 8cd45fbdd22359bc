"""The estimator that speedups were found by before: the rounds in which nothing was held up, or else all of them.

Kept to be compared with. Hodges-Lehmann centre of the log ratios of two arms' slots, round by round, with the interval
of the signed-rank test (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3.2-3.3), each side stretched
by the root of the autocorrelation time of the differences' ranks and by Student's quantile. Rounds with a held-up slot
are left out where they say something else or only add noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit

from quantbench.analysis import speedups
from quantbench.analysis.interference import held_up
from quantbench.analysis.intervals import ALPHA, Interval, Z, inflation
from quantbench.schema.results import ArmLatency

FEWEST_PAIRS = 6
GAIN = 0.7


def log_ratio(arms: Mapping[str, ArmLatency], arm: str, against: str, mixed: bool) -> Interval | None:
    """The logarithm of the speedup of an arm over another; None with too few rounds."""
    held = held_up(arms, mixed)
    ratios = speedups.log_ratios(arms[against], arms[arm], mixed)
    left_out = (held[arm] | held[against]) & ratios.keys()
    every = list(ratios.values())
    calm = [ratio for place, ratio in ratios.items() if place not in left_out]
    others = [ratio for place, ratio in ratios.items() if place in left_out]
    if len(every) < FEWEST_PAIRS:
        return None
    if not others or len(calm) < FEWEST_PAIRS:
        return hodges_lehmann(every)
    narrow, wide = hodges_lehmann(calm), hodges_lehmann(every)
    if narrow.half_width < GAIN * wide.half_width or _apart(narrow, others):
        return narrow
    return wide


def hodges_lehmann(differences: Sequence[float]) -> Interval:
    """The median of all pairwise means with its stretched signed-rank interval."""
    values = np.asarray(differences)
    count = len(values)
    rows, columns = np.triu_indices(count)
    means = np.sort((values[rows] + values[columns]) / 2)
    deviation = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    lowest = max(0, math.floor(count * (count + 1) / 4 - 0.5 - Z * deviation))
    centre, factor = float(np.median(means)), _stretch(values)
    low, high = float(means[lowest]), float(means[-1 - lowest])
    return Interval(centre, centre - (centre - low) * factor, centre + (high - centre) * factor)


def _stretch(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    lasts = inflation(values)
    worth = max(2.0, len(values) / lasts)
    quantiles = stdtrit([worth - 1, len(values) - 1], 1 - ALPHA / 2)
    return math.sqrt(lasts) * float(quantiles[0] / quantiles[1])


def _apart(calm: Interval, others: Sequence[float]) -> bool:
    if len(others) < FEWEST_PAIRS:
        return False
    found = hodges_lehmann(others)
    return found.low > calm.high or found.high < calm.low

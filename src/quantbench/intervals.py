"""Intervals and verdicts from paired measurements. Pure numbers in, pure numbers out.

Latency: the logarithms of the ratios of two arms' slots in the same round are differences of a symmetric distribution
around the logarithm of the speedup; bursts from neighbours give it heavy tails, so rank methods are used. Accuracy:
examples are resampled, and what is summed over them is summed again, for both arms with the same draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
Z = 1.959963984540054
"""Normal quantile of a two-sided 95 % interval."""
FEWEST_PAIRS = 6
"""With fewer pairs no two-sided 95 % interval of the signed-rank test is bounded."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


def hodges_lehmann(differences: Sequence[float]) -> Interval:
    """Centre of a symmetric distribution: the median of all pairwise means (Hodges and Lehmann, 1963).

    The interval inverts the Wilcoxon signed-rank test with its normal approximation (Hollander, Wolfe and Chicken,
    Nonparametric Statistical Methods, 3.2-3.3).

    Args:
        differences: one number per pair, in any order.

    Raises:
        ValueError: with fewer than ``FEWEST_PAIRS``.

    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if count < FEWEST_PAIRS:
        raise ValueError(f"an interval needs at least {FEWEST_PAIRS} pairs, there are {count}")
    first, second = np.triu_indices(count)
    means = np.sort((values[first] + values[second]) / 2)
    spread = Z * np.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    cut = max(0, int(np.floor(count * (count + 1) / 4 - spread)))
    return Interval(float(np.median(means)), float(means[cut]), float(means[len(means) - 1 - cut]))


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p-value of the Wilcoxon signed-rank test for a centre of zero; 1 where all differences are zero."""
    from scipy.stats import wilcoxon

    values = np.asarray(differences, dtype=np.float64)
    if not np.any(values):
        return 1.0
    return float(wilcoxon(values, zero_method="wilcox", method="approx").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm, 1979), in the order given; each at most 1."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def verdict(ratio: Interval, adjusted_p: float, noise_floor: float) -> str:
    """``faster``, ``slower`` or ``inconclusive``.

    Args:
        ratio: of the latencies, above 1 is faster.
        adjusted_p: corrected for all rows that are judged together.
        noise_floor: the ratio's distance from 1 that a model against itself reaches on this machine.

    """
    if adjusted_p >= 1 - LEVEL or ratio.low <= 1 <= ratio.high or abs(np.log(ratio.value)) <= np.log1p(noise_floor):
        return "inconclusive"
    return "faster" if ratio.value > 1 else "slower"


def paired_bootstrap(
    original: Sequence[Sequence[int]],
    optimized: Sequence[Sequence[int]],
    metrics: Callable[[Sequence[int]], dict[str, float]],
    seed: int = 0,
) -> dict[str, Interval]:
    """Differences of metrics, optimized minus original, with percentile intervals over resampled examples.

    Counts are summed over the resampled examples before a metric is computed from the sums, so that an F1 is that of
    all entities, not a mean of the sentences' (Efron and Tibshirani, 1993; Koehn, 2004, for paired use).

    Args:
        original: counts per example, shape (examples, columns).
        optimized: counts of the same examples in the same order.
        metrics: values from summed counts.
        seed: of the resampling.

    """
    first, second = np.asarray(original, dtype=np.int64), np.asarray(optimized, dtype=np.int64)
    count = len(first)
    generator = np.random.default_rng(seed)
    observed = _differences(first.sum(axis=0), second.sum(axis=0), metrics)
    drawn: dict[str, list[float]] = {name: [] for name in observed}
    for _ in range(RESAMPLES):
        weights = np.bincount(generator.integers(0, count, count), minlength=count)
        for name, value in _differences(weights @ first, weights @ second, metrics).items():
            drawn[name].append(value)
    tail = 100 * (1 - LEVEL) / 2
    return {
        name: Interval(value, *(float(edge) for edge in np.percentile(drawn[name], [tail, 100 - tail])))
        for name, value in observed.items()
    }


def _differences(
    first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], metrics: Callable[[Sequence[int]], dict[str, float]]
) -> dict[str, float]:
    original, optimized = metrics(first.tolist()), metrics(second.tolist())
    return {name: optimized[name] - original[name] for name in original}

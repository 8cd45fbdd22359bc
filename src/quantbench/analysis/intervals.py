"""Intervals and verdicts from paired measurements. Pure numbers in, pure numbers out.

Latency: the logarithms of the ratios of two arms' slots in the same round are differences of a symmetric distribution
around the logarithm of the speedup; bursts from neighbours give it heavy tails, so rank methods are used. What slows
one arm down lasts for several rounds, so that the differences are autocorrelated, and intervals and p-values are
widened by it. Accuracy: examples are resampled, and what is summed over them is summed again, for both arms with the
same draw. scipy's rank tests allow for no autocorrelation, and its bootstrap draws examples rather than weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from quantbench.analysis.pairwise import Sums

ALPHA = 0.05
"""Error probability of every interval and verdict."""
Z = float(ndtri(1 - ALPHA / 2))
"""Normal quantile of a two-sided interval at that error probability."""
FEWEST_PAIRS = 6
"""With fewer pairs a two-sided 95 % interval of the signed-rank test has no bounds."""
RESAMPLES = 2000
MOST_DRAWS, MOST_WEIGHTS = 256, 2_000_000
"""Resamples, and examples in them, that are computed together: a bound on memory."""


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

    The interval is that of the signed-rank test (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods,
    3.2-3.3), each side stretched by :func:`stretch`, and holds the centres that :func:`signed_rank_p` does not reject
    at 5 %. Stretching the interval rather than taking it at more extreme pairwise means gives the same where noise is
    normal, and does not let a few bursts decide how wide it is.

    Args:
        differences: one number per pair, in the order in which they were measured.

    Raises:
        ValueError: with fewer than ``FEWEST_PAIRS``.

    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < FEWEST_PAIRS:
        raise ValueError(f"an interval needs at least {FEWEST_PAIRS} pairs, there are {len(values)}")
    sums = Sums.of_pairs(values)
    expected, deviation = _signed_rank_moments(len(values))
    return _centre(sums, expected - 0.5 - Z * deviation, stretch(values.tolist()), 0.5)


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p-value for a centre of zero, allowing for autocorrelation; 1 with fewer than ``FEWEST_PAIRS``.

    A Wilcoxon signed-rank test, normal approximation with continuity correction, of the hypothesis that is
    :func:`stretch` times nearer to the centre than zero is: so p is below 5 % exactly where the interval of
    :func:`hodges_lehmann` excludes zero. The statistic is the number of positive pairwise means, zeros counting half,
    which equals the usual sum of ranks (Tukey, 1949).

    Args:
        differences: one number per pair, in the order in which they were measured.

    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < FEWEST_PAIRS:
        return 1.0
    sums = Sums.of_pairs(values)
    nearer = _median(sums, 0.5) * (1 - 1 / stretch(values.tolist()))
    return _tail(sums.above(2 * nearer), *_signed_rank_moments(len(values)))


def shift(first: Sequence[float], second: Sequence[float]) -> tuple[Interval, float]:
    """How far the second of two independent samples lies above the first, and the p-value of no difference.

    The median of all differences with the interval of the Mann-Whitney test (Hodges and Lehmann, 1963; Hollander, Wolfe
    and Chicken, 4.2-4.3). Interval and p-value are stretched for autocorrelation as those of one sample are.

    Args:
        first: in the order in which they were measured.
        second: likewise.

    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    sums = Sums(-one, np.sort(other))
    expected, deviation = sums.count / 2, math.sqrt(sums.count * (len(one) + len(other) + 1) / 12)
    factor = stretch(one.tolist(), other.tolist())
    interval = _centre(sums, expected - Z * deviation, factor, 1.0)
    return interval, _tail(sums.above(interval.value * (1 - 1 / factor)), expected, deviation)


def _median(sums: Sums, scale: float) -> float:
    low, high = sums.smallest([(sums.count - 1) // 2, sums.count // 2])
    return (scale * low + scale * high) / 2


def _centre(sums: Sums, cut: float, factor: float, scale: float) -> Interval:
    """The median of scaled sums, and those at the place ``cut`` from both ends, drawn away from it by a factor."""
    lowest, last = max(0, math.floor(cut)), sums.count - 1
    ranks = [lowest, last // 2, (last + 1) // 2, last - lowest]
    low, before, behind, high = (scale * value for value in sums.smallest(ranks))
    centre = (before + behind) / 2
    return Interval(centre, centre - (centre - low) * factor, centre + (high - centre) * factor)


def _tail(statistic: float, expected: float, deviation: float) -> float:
    """Two-sided p-value of a rank statistic, normal approximation with continuity correction."""
    return math.erfc(max(0.0, abs(statistic - expected) - 0.5) / deviation / math.sqrt(2))


def stretch(*samples: Sequence[float]) -> float:
    """How much wider autocorrelation makes the interval of a sample's centre, or of two samples' shift; at least 1.

    The root of the variance with :func:`inflation` over that without, times the ratio of Student's quantiles for as
    many independent differences as these are worth and for as many as there are, because the inflation itself is less
    certain the larger it is. Degrees of freedom of two samples are those of Welch (1947).
    """
    found = [inflation(sample) for sample in samples]
    counts = [len(sample) for sample in samples]
    if max(found) == 1 or min(counts) == 1:
        return 1.0
    variances, degrees = _welch(counts, found)
    plain, all_degrees = _welch(counts, [1.0] * len(counts))
    quantiles = stdtrit([degrees, all_degrees], 1 - ALPHA / 2)
    return math.sqrt(variances / plain) * float(quantiles[0] / quantiles[1])


def _welch(counts: Sequence[int], inflations: Sequence[float]) -> tuple[float, float]:
    """Variance of a difference of means in units of that of one value, and its degrees of freedom."""
    parts = [found / count for count, found in zip(counts, inflations, strict=True)]
    return sum(parts), sum(parts) ** 2 / sum(part**2 / max(1.0, 1 / part - 1) for part in parts)


def inflation(differences: Sequence[float]) -> float:
    """How many autocorrelated differences are worth one independent difference; at least 1.

    The signed-rank statistic and the centre found from it are, but for smaller terms, means of the differences' ranks,
    so autocorrelation multiplies their variance by ``1 + 2 * sum(rho_k)`` of the ranks (Gastwirth and Rubin, 1971 and
    1975, on rank methods with dependent data). Ranks are blind to how far a burst reaches. The sum runs over pairs of
    neighbouring lags while they are positive and not growing (initial monotone sequence of Geyer, 1992), which needs no
    model of the noise. Around an estimated mean a ``rho_k`` is too small by about a n-th of ``(1 - rho_k)`` times the
    result (Percival, 1993), which is mended in a second pass.

    Args:
        differences: in the order in which they were measured, evenly spaced in time.

    """
    count = len(differences)
    _, place, times = np.unique(np.asarray(differences, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place] - (count + 1) / 2
    power = float(ranks @ ranks)
    if not power:
        return 1.0
    pairs = (count // 2 + 1) // 2
    rho = np.correlate(ranks, ranks, "full")[count - 1 : count - 1 + 2 * pairs] / power
    found = 1.0
    for _ in range(2):
        share = min(found / count, 0.5)
        sums = np.minimum.accumulate((rho * (1 - share) + share).reshape(pairs, 2).sum(axis=1))
        found = max(1.0, 2 * float(sums[sums > 0].sum()) - 1)
    return found


def _signed_rank_moments(count: int) -> tuple[float, float]:
    """Mean and standard deviation of the signed-rank statistic of independent differences around the true centre."""
    return count * (count + 1) / 4, math.sqrt(count * (count + 1) * (2 * count + 1) / 24)


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
    """Whether an arm is ``faster`` or ``slower`` than another, or the measurement is ``inconclusive``.

    Args:
        ratio: of the latencies, above 1 is faster.
        adjusted_p: corrected for all rows that are judged together.
        noise_floor: distance from 1 that a model against itself reaches on this machine, of the slower over the faster.

    """
    if adjusted_p >= ALPHA or ratio.low <= 1 <= ratio.high or max(ratio.value, 1 / ratio.value) <= 1 + noise_floor:
        return "inconclusive"
    return "faster" if ratio.value > 1 else "slower"


def paired_bootstrap(
    original: Sequence[Sequence[float]],
    optimized: Sequence[Sequence[float]],
    metrics: Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], dict[str, Any]],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Differences of metrics, optimized minus original, with percentile intervals over resampled examples.

    A metric is computed anew over every draw, the same for both (Efron and Tibshirani, 1993; Koehn, 2004, for paired
    use).

    Args:
        original: outcomes per example, shape (examples, columns).
        optimized: outcomes of the same examples in the same order.
        metrics: values from outcomes, shape (examples, columns), and how often each example was drawn, shape
            (examples,) or (draws, examples).
        seed: of the resampling.
        resamples: how many.

    """
    arms = [np.asarray(outcomes, dtype=np.float64) for outcomes in (original, optimized)]
    count = len(arms[0])
    generator = np.random.default_rng(seed)

    def differences(weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        first, second = (metrics(outcomes, weights) for outcomes in arms)
        return {name: second[name] - first[name] for name in first.keys() & second.keys()}

    observed = differences(np.ones(count))
    drawn: dict[str, list[Any]] = {name: [] for name in observed}
    for weights in _draws(generator, count, resamples):
        for name, values in differences(weights).items():
            drawn[name].append(values)
    tails = (100 * ALPHA / 2, 100 - 100 * ALPHA / 2)
    return {
        name: Interval(float(value), *(float(edge) for edge in np.percentile(np.concatenate(drawn[name]), tails)))
        for name, value in observed.items()
    }


def _draws(generator: np.random.Generator, count: int, resamples: int) -> Iterator[np.ndarray[Any, Any]]:
    """How often each of ``count`` examples is drawn in every resample, shape (draws, count); a part of them at a time.

    The numbers are the same however many are drawn together.
    """
    together = max(1, min(MOST_DRAWS, MOST_WEIGHTS // count))
    for start in range(0, resamples, together):
        rows = min(together, resamples - start)
        examples = generator.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(examples.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)

"""Intervals, verdicts and corrections. Pure numbers in, pure numbers out.

Accuracy: examples are resampled, and what is summed over them is summed again, for both arms with the same draw.
scipy's bootstrap draws examples rather than weights. Intervals of speedups are made in ``undisturbed``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtri
from threadpoolctl import ThreadpoolController

ALPHA = 0.05
"""Error probability of every interval and verdict."""
Z = float(ndtri(1 - ALPHA / 2))
"""Normal quantile of a two-sided interval at that error probability."""
RESAMPLES = 1000
MOST_DRAWS, MOST_WEIGHTS = 256, 2_000_000
"""Resamples, and examples in them, that are computed together: a bound on memory."""
MOST_KEPT = 16_000_000
"""Examples in all resamples up to which these are kept for the next result, in 128 MB at most."""

Outcomes = Sequence[Sequence[float]]
"""Per example, shape (examples, columns)."""
Metrics = Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], dict[str, Any]]
"""Values by name from outcomes and how often each example was drawn; see :func:`paired_bootstrap`."""


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

    @property
    def p_value(self) -> float:
        """Two-sided p-value of zero: that of the normal distribution whose 95 % interval reaches as far towards it."""
        reach = self.value - self.low if self.value > 0 else self.high - self.value
        if self.value == 0 or reach <= 0:
            return float(self.value == 0)
        return math.erfc(Z * abs(self.value) / reach / math.sqrt(2))

    def exp(self) -> Interval:
        """Of a ratio, where this is of its logarithm."""
        return Interval(*(math.exp(value) for value in (self.value, self.low, self.high)))


def inflation(values: Sequence[float] | np.ndarray[Any, Any]) -> float:
    """How many autocorrelated values are worth one independent value to a rank statistic; at least 1.

    Autocorrelation multiplies the variance of such a statistic by about ``1 + 2 * sum(rho_k)`` of the ranks (Gastwirth
    and Rubin, 1971 and 1975, on rank methods with dependent data). Ranks are blind to how far a burst reaches. The sum
    runs over pairs of neighbouring lags while they are positive and not growing (initial monotone sequence of Geyer,
    1992), which needs no model of the noise. Around an estimated mean a ``rho_k`` is too small by about a n-th of
    ``(1 - rho_k)`` times the result (Percival, 1993), which is mended in a second pass.

    Args:
        values: in the order in which they were measured, evenly spaced in time.

    """
    count = len(values)
    _, place, times = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place] - (count + 1) / 2
    if not ranks.any():
        return 1.0
    pairs = (count // 2 + 1) // 2
    products = _products(ranks)[: 2 * pairs]
    rho = products / products[0]
    found = 1.0
    for _ in range(2):
        share = min(found / count, 0.5)
        sums = np.minimum.accumulate((rho * (1 - share) + share).reshape(pairs, 2).sum(axis=1))
        found = max(1.0, 2 * float(sums[sums > 0].sum()) - 1)
    return found


def _products(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Sums of products of values with those so many places later, by that number of places."""
    size = 2 * len(values)  # padded, so that the end does not meet the beginning
    spectrum = np.fft.rfft(values, size)
    found: np.ndarray[Any, Any] = np.fft.irfft(spectrum * spectrum.conj(), size)[: len(values)]
    return found


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
    original: Outcomes,
    optimized: Outcomes,
    metrics: Metrics,
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
    both = (drawn_metrics(outcomes, metrics, seed, resamples) for outcomes in (original, optimized))
    return difference(*both)


@dataclass(frozen=True)
class Drawn:
    """Metrics by name: as observed, and in every draw of the examples, shape (draws,)."""

    observed: dict[str, float]
    draws: dict[str, np.ndarray[Any, Any]]


def drawn_metrics(outcomes: Outcomes, metrics: Metrics, seed: int = 0, resamples: int = RESAMPLES) -> Drawn:
    """The metrics of one arm over the draws that :func:`paired_bootstrap` makes; arguments as there."""
    values = np.asarray(outcomes, dtype=np.float64)
    count = len(values)
    kept = count * resamples <= MOST_KEPT
    weights = _kept_draws(count, resamples, seed) if kept else _draws(count, resamples, seed)
    with single_threaded():
        parts = [metrics(values, drawn) for drawn in weights]
    observed = {name: float(value) for name, value in metrics(values, np.ones(count)).items()}
    return Drawn(observed, {name: np.concatenate([part[name] for part in parts]) for name in observed})


def difference(first: Drawn, second: Drawn) -> dict[str, Interval]:
    """Second minus first of every metric that both have, with percentile intervals; both from the same draws."""
    names = [name for name in first.observed if name in second.observed]
    tails = (100 * ALPHA / 2, 100 - 100 * ALPHA / 2)
    if not names:
        return {}
    drawn = np.stack([second.draws[name] - first.draws[name] for name in names])
    edges = np.percentile(drawn, tails, axis=1).T.tolist()
    return {
        name: Interval(second.observed[name] - first.observed[name], *ends)
        for name, ends in zip(names, edges, strict=True)
    }


def single_threaded() -> AbstractContextManager[object]:
    """Holds libraries of linear algebra to one thread, for products as small as those of a bootstrap.

    Their threads wait for each other, on a busy machine a hundred times as long as they compute.
    """
    limiter: AbstractContextManager[object] = _libraries().limit(limits=1)
    return limiter


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache(maxsize=1)
def _kept_draws(count: int, resamples: int, seed: int) -> tuple[np.ndarray[Any, Any], ...]:
    """As :func:`_draws`; the runs of a benchmark have as many examples each, and making draws takes longest."""
    return tuple(_draws(count, resamples, seed))


def _draws(count: int, resamples: int, seed: int) -> Iterator[np.ndarray[Any, Any]]:
    """How often each of ``count`` examples is drawn in every resample, shape (draws, count); a part of them at a time.

    The numbers are the same however many are drawn together.
    """
    generator = np.random.default_rng(seed)
    together = max(1, min(MOST_DRAWS, MOST_WEIGHTS // count))
    for start in range(0, resamples, together):
        rows = min(together, resamples - start)
        examples = generator.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(examples.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)

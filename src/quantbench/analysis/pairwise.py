"""Order statistics and counts of all sums of two numbers of sorted lists, without holding the sums.

The pairwise means of Hodges and Lehmann are n * (n + 1) / 2 numbers: 5 GB for an hour of rounds. In a matrix whose rows
are sorted, a number of the middle splits all of them in time proportional to the rows (Johnson and Mizoguchi, 1978);
sums that cannot have the rank asked for are excluded until the rest is few enough to be held.

Sums are those of floating-point arithmetic, whose rounding keeps their order: the results are exactly those of sorting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MOST_HELD = 1_000_000
"""Sums that are held at once."""


class Sums:
    """All ``first[i] + second[j]`` with ``j >= start[i]``.

    Args:
        first: numbers in any order.
        second: numbers in ascending order.
        start: the first place in ``second`` of each row; 0 where it is None.

    """

    def __init__(self, first: Array, second: Array, start: Array | None = None) -> None:
        self.first, self.second = first, second
        self.low = np.zeros(len(first), dtype=np.int64) if start is None else start
        self.high = np.full(len(first), len(second), dtype=np.int64)

    @classmethod
    def of_pairs(cls, values: Array) -> Sums:
        """Sums of every value with itself and with every other, each pair once."""
        ranked = np.sort(values)
        return cls(ranked, ranked, np.arange(len(ranked)))

    @property
    def count(self) -> int:
        """How many sums there are that were not left out."""
        return int((self.high - self.low).sum())

    def smallest(self, ranks: Sequence[int]) -> list[float]:
        """The sums at these places in ascending order, from 0."""
        if self.count <= MOST_HELD:
            held = np.partition(self._held(self.low, self.high), sorted(set(ranks)))
            return [float(held[rank]) for rank in ranks]
        return [self._smallest(rank) for rank in ranks]

    def above(self, limit: float) -> float:
        """Number of sums that are larger than a limit, equal ones counting half."""
        larger = self.high - self._place(limit, self.low, self.high, below=False)
        not_less = self.high - self._place(limit, self.low, self.high, below=True)
        return float(larger.sum() + not_less.sum()) / 2

    def _smallest(self, rank: int) -> float:
        low, high = self.low, self.high
        while int((high - low).sum()) > MOST_HELD:
            pivot = self._pivot(low, high)
            less = self._place(pivot, low, high, below=True)
            before = int((less - low).sum())
            if rank < before:
                high = less
                continue
            not_more = self._place(pivot, less, high, below=False)
            equal = int((not_more - less).sum())
            if rank < before + equal:
                return pivot
            low, rank = not_more, rank - before - equal
        return float(np.partition(self._held(low, high), rank)[rank])

    def _pivot(self, low: Array, high: Array) -> float:
        """The median of the rows' middles, weighed by the rows' sums, of which at least a quarter is on either side."""
        rows = np.flatnonzero(high > low)
        middles = self.first[rows] + self.second[(low[rows] + high[rows]) // 2]
        order = np.argsort(middles)
        weights = np.cumsum((high - low)[rows][order])
        return float(middles[order][np.searchsorted(weights, weights[-1] / 2)])

    def _place(self, limit: float, low: Array, high: Array, below: bool) -> Array:
        """Of each row the first place whose sum is not below the limit, or the first whose sum is above it."""
        low, high = low.copy(), high.copy()
        last = len(self.second) - 1
        while (open_rows := low < high).any():
            middle = (low + high) // 2
            sums = self.first + self.second[np.minimum(middle, last)]
            before = open_rows & (sums < limit if below else sums <= limit)
            low = np.where(before, middle + 1, low)
            high = np.where(open_rows & ~before, middle, high)
        return low

    def _held(self, low: Array, high: Array) -> Array:
        counts = high - low
        ends = np.cumsum(counts)
        inside = np.arange(ends[-1]) - np.repeat(ends - counts - low, counts)
        held: Array = np.repeat(self.first, counts) + self.second[inside]
        return held

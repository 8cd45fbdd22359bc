"""Observers of activations: a histogram and the extremes of every channel, from one pass over the samples.

The histogram's edge doubles, and its bins are merged in pairs, whenever a value lies outside. So no range has to be
known beforehand, memory does not grow with the number of samples, and every range method reads the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from quantbench.quantize.calibration.ranges import (
    BINS,
    Sample,
    accepted,
    entropy_threshold,
    histogram,
    percentile_range,
    session_of,
)
from quantbench.schema.reporter import Advance
from quantbench.schema.settings import Calibration

SHRINKS = np.linspace(0.02, 1.0, 99)
"""Shares of the range of all values that the method ``mse`` tries."""
STEPS = 255
"""Steps between the smallest and the largest 8-bit number."""


@dataclass
class TensorStatistics:
    """An observer of one tensor over all samples.

    Attributes:
        counts: histogram of ``BINS`` equal bins between -edge and edge.
        edge: a power of two.
        lows: smallest value by channel, the tensor's last dimension.
        highs: largest value by channel.

    """

    counts: np.ndarray[Any, Any]
    edge: float
    lows: np.ndarray[Any, Any]
    highs: np.ndarray[Any, Any]

    @classmethod
    def empty(cls, channels: int) -> TensorStatistics:
        """Statistics before the first sample: no counts, and extremes at infinity."""
        return cls(np.zeros(BINS, dtype=np.int64), 2.0**-20, np.full(channels, np.inf), np.full(channels, -np.inf))

    def add(self, values: np.ndarray[Any, Any]) -> None:
        """Count the values of one sample, shape (…, channels)."""
        rows = values.reshape(-1, values.shape[-1])
        self.lows = np.minimum(self.lows, rows.min(axis=0))
        self.highs = np.maximum(self.highs, rows.max(axis=0))
        largest = float(max(-self.lows.min(), self.highs.max()))
        while self.edge < largest:
            quarter = BINS // 4
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([np.zeros(quarter, np.int64), merged, np.zeros(quarter, np.int64)])
            self.edge *= 2
        self.counts = self.counts + histogram(values, self.edge)

    def range(self, calibration: Calibration) -> tuple[float, float]:
        """Smallest and largest value that is to be told apart, by the method asked for.

        ``minmax``, ``percentile`` and ``entropy`` as in ``ranges``. ``mse``: the share of the whole range with the
        least mean square of rounding and clipping error (as in Choukroun et al. 2019, "Low-bit Quantization").
        """
        low, high = float(self.lows.min()), float(self.highs.max())
        if calibration.method == "percentile":
            cut = percentile_range(self.counts, self.edge, calibration.percentile)
        elif calibration.method == "entropy":
            threshold = entropy_threshold(self.counts, self.edge)
            cut = (-threshold, threshold)
        elif calibration.method == "mse":
            cut = self._least_error(low, high)
        else:
            cut = (low, high)
        return min(max(low, cut[0]), high), max(min(high, cut[1]), low)

    def _least_error(self, low: float, high: float) -> tuple[float, float]:
        width = 2 * self.edge / BINS
        centres = -self.edge + width * (np.arange(BINS) + 0.5)
        used = self.counts > 0
        values, weights = centres[used], self.counts[used]
        best, found = np.inf, (low, high)
        for share in SHRINKS:
            step = share * (high - low) / STEPS
            clipped = values - np.clip(values, share * low, share * high)
            error = float((weights * np.where(clipped == 0, step**2 / 12, clipped**2)).sum())
            if error <= best:
                best, found = error, (float(share * low), float(share * high))
        return found

    def dump(self) -> dict[str, JsonValue]:
        """All fields as values that JSON holds."""
        return {
            "counts": self.counts.tolist(),
            "edge": self.edge,
            "lows": self.lows.tolist(),
            "highs": self.highs.tolist(),
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> TensorStatistics:
        """The statistics that :meth:`dump` wrote."""
        arrays = {name: np.asarray(data[name]) for name in ("counts", "lows", "highs")}
        return cls(edge=float(data["edge"]), **arrays)


Statistics = dict[str, TensorStatistics]


def collect(
    model: Path, tensors: Sequence[str], samples: int, sample: Sample, threads: int, advance: Advance
) -> Statistics:
    """Statistics of tensors of a float model over samples.

    Args:
        model: path of the float ONNX file.
        tensors: names, of tensors whose last dimension is the channels.
        samples: how many there are.
        sample: gives sample ``i`` as arrays of shape (1, length).
        threads: of the session.
        advance: told 1 after each sample.

    """
    session = session_of(model, tensors, threads)
    found: Statistics = {}
    for index in range(samples):
        for name, values in zip(tensors, session.run(None, accepted(session, sample(index))), strict=True):
            found.setdefault(name, TensorStatistics.empty(values.shape[-1])).add(values)
        advance(1)
    return found

"""What sets the range of a tensor: constants, padding, special tokens or outlying channels.

A cause is judged by the range without it: the logarithm (base 2) of the ratio of both widths is the number of bits, out
of 8, that the cause takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantbench.diagnose.records import BITS, Cause, Peak
from quantbench.graph import external
from quantbench.graph.view import Graph
from quantbench.quantize.fake_quant import Rounding

HUGE = 1e4
"""Least magnitude of a constant that is no part of a function but stands for infinity."""
OUTLYING = 8.0
"""A channel whose magnitude is so many times the median channel's is an outlier. Trained encoders have single ones of
10 to 100 times (Bondarenko et al. 2021; Dettmers et al. 2022), other channels lie within 2 to 4 times of each other."""
LEAST_BITS = 0.5
"""Bits that a cause must take to be reported."""
SOURCES_OF_DATA = ("MatMul", "Gemm", "MatMulInteger", "Conv", "LayerNormalization", "Softmax")
"""Operators behind which a constant has been mixed with weights: nothing is looked for beyond them."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Example:
    """One input as it is run alone, with or without padding behind its end.

    Attributes:
        inputs: arrays of batch size 1.
        length: positions without padding.
        tokens: the token at every position.
        special: which positions hold special tokens, shape (positions,).

    """

    inputs: Mapping[str, np.ndarray[Any, Any]]
    length: int
    tokens: tuple[str, ...]
    special: np.ndarray[Any, Any]


def join(first: Span, second: Span) -> Span:
    """The narrowest range that holds both."""
    return min(first[0], second[0]), max(first[1], second[1])


def span(values: np.ndarray[Any, Any]) -> Span:
    """Smallest and largest finite value; nothing where there is none."""
    if values.size == 0:
        return math.inf, -math.inf
    limit = float(np.finfo(np.float32).max)
    return max(float(values.min()), -limit), min(float(values.max()), limit)


def width(between: Span) -> float:
    """Width of a range with zero in it, as a quantized range must have."""
    return max(between[1], 0.0) - min(between[0], 0.0)


@dataclass
class Extremes:
    """An observer of one tensor: its extremes over examples, by place and by channel.

    Attributes:
        axes: the axes of the tensor that are positions.
        everything: range over all positions.
        real: range where there is no padding.
        ordinary: range at real positions that hold no special token.
        at_special: largest magnitude by special token.
        lows: smallest value at real positions by channel, in the shape of the other axes.
        highs: largest value, likewise.
        peak: where the largest magnitude stands.

    """

    axes: tuple[int, ...]
    everything: Span = (math.inf, -math.inf)
    real: Span = (math.inf, -math.inf)
    ordinary: Span = (math.inf, -math.inf)
    at_special: dict[str, float] = field(default_factory=dict)
    lows: np.ndarray[Any, Any] | None = None
    highs: np.ndarray[Any, Any] | None = None
    peak: Peak | None = None

    def add(self, values: np.ndarray[Any, Any], example: Example) -> None:
        """Take in one example's values."""
        real = values[tuple(slice(example.length) if axis in self.axes else slice(None) for axis in range(values.ndim))]
        self.everything = join(self.everything, span(values))
        self.real = join(self.real, span(real))
        ordinary = real
        special = example.special[: example.length]
        for axis in self.axes:
            if real.shape[axis] == len(special):
                ordinary = np.compress(~special, ordinary, axis=axis)
                self._note_special(real, axis, example)
        self.ordinary = join(self.ordinary, span(ordinary))
        lows, highs = real.min(axis=self.axes), real.max(axis=self.axes)
        self.lows = lows if self.lows is None else np.minimum(self.lows, lows)
        self.highs = highs if self.highs is None else np.maximum(self.highs, highs)
        self._note_peak(values, example)

    def _note_special(self, real: np.ndarray[Any, Any], axis: int, example: Example) -> None:
        for position in np.flatnonzero(example.special[: example.length]):
            token = example.tokens[position]
            largest = float(np.abs(np.take(real, position, axis=axis)).max())
            self.at_special[token] = max(self.at_special.get(token, 0.0), largest)

    def _note_peak(self, values: np.ndarray[Any, Any], example: Example) -> None:
        place = np.unravel_index(int(np.abs(values).argmax()), values.shape)
        value = float(np.nan_to_num(values[place]))
        if self.peak is not None and abs(value) <= abs(self.peak.value):
            return
        positions = [int(place[axis]) for axis in self.axes]
        padded = [position for position in positions if position >= example.length]
        position = padded[-1] if padded else positions[-1] if positions else 0
        self.peak = Peak(
            value=value,
            channel=self._channel(place, values.shape),
            token=example.tokens[position] if positions and position < len(example.tokens) else "",
            padded=bool(padded),
        )

    def _channel(self, place: Sequence[Any], shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(int(i) for axis, i in enumerate(place) if axis not in self.axes and shape[axis] > 1)

    def outliers(self) -> tuple[tuple[tuple[int, ...], ...], float, Span]:
        """Outlying channels, the largest first; how many times the median the largest is; the range of the others."""
        if self.lows is None or self.highs is None or self.lows.size < 3:
            return (), 1.0, self.real
        magnitude = np.maximum(np.abs(self.lows), np.abs(self.highs))
        median = float(np.median(magnitude))
        outlying = magnitude > OUTLYING * median
        if median == 0 or not outlying.any():
            return (), 1.0, self.real
        order = sorted(zip(*np.nonzero(outlying), strict=True), key=lambda place: -magnitude[place])
        named = tuple(self._without_ones(place, magnitude.shape) for place in order)
        rest = join(span(self.lows[~outlying]), span(self.highs[~outlying]))
        return named, float(magnitude.max()) / median, rest

    @staticmethod
    def _without_ones(place: Sequence[Any], shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(int(index) for index, size in zip(place, shape, strict=True) if size > 1)


def position_axes(shapes: Sequence[Sequence[int]], lengths: Sequence[int]) -> tuple[int, ...]:
    """Axes of a tensor that are positions: as long as the example is, in examples of several lengths."""
    return tuple(
        axis
        for axis in range(len(shapes[0]))
        if all(shape[axis] == length for shape, length in zip(shapes, lengths, strict=True))
    )


def bits(whole: Span, rest: Span) -> float:
    """Bits by which a range is wider than the rest of it would be."""
    if width(rest) <= 0 or width(whole) <= 0:
        return float(BITS) if width(whole) > 0 else 0.0
    return min(float(BITS), max(0.0, math.log2(width(whole) / width(rest))))


def causes(
    item: Rounding, calibrated: Extremes, real: Extremes, constant: float | None, clipping: float
) -> tuple[Cause, ...]:
    """What sets a tensor's range, the dominating cause first.

    Args:
        item: its rounding.
        calibrated: its extremes in calibration samples as they were made.
        real: its extremes in real examples without padding.
        constant: the huge constant that is added to it, if there is one.
        clipping: share of its rounding noise that comes from values beyond the range.

    """
    found: list[Cause] = []
    outermost = max(map(abs, item.range))
    if constant is not None and outermost >= abs(constant) / 2:
        found.append(Cause(kind="constant", bits=bits(item.range, real.real), value=constant))
    found.append(Cause(kind="padding", bits=bits(calibrated.everything, calibrated.real)))
    tokens = sorted(real.at_special, key=lambda token: -real.at_special[token])
    found.append(Cause(kind="special tokens", bits=bits(real.real, real.ordinary), tokens=tuple(tokens[:1])))
    named, factor, rest = real.outliers()
    if named:
        found.append(Cause(kind="channels", bits=bits(real.real, rest), channels=named, factor=factor))
    told = sorted((cause for cause in found if cause.bits >= LEAST_BITS), key=lambda cause: -cause.bits)
    missing = constant if constant is not None and outermost < abs(constant) / 2 else None
    if missing is not None or (clipping > 0.5 and width(real.real) > width(item.range)):
        told.insert(0, Cause(kind="clipped", share=clipping, value=missing))
    return tuple(told) or (Cause(kind="wide"),)


def huge_constant(graph: Graph, tensor: str) -> float | None:
    """The largest constant of huge magnitude that the node that makes a tensor adds or puts in, None if there is none.

    It may be computed from constants and the attention mask on the way; it is not looked for behind weights.
    """
    node = graph.producer(tensor)
    if node is None or node.op_type not in ("Add", "Sub", "Where"):
        return None
    found = [value for name in node.input if name for value in _huge(graph, name, set())]
    return max(found, key=abs, default=None)


def _huge(graph: Graph, tensor: str, seen: set[str]) -> list[float]:
    array = graph.array(tensor)
    if array is not None:
        return _values(array)
    node = graph.producer(tensor)
    if node is None or tensor in seen or node.op_type in SOURCES_OF_DATA:
        return []
    seen.add(tensor)
    filled = [attribute.t for attribute in node.attribute if attribute.name == "value" and attribute.HasField("t")]
    inside = [value for item in filled for value in _values(external.values(item))]
    return inside + [value for name in node.input if name for value in _huge(graph, name, seen)]


def _values(array: np.ndarray[Any, Any]) -> list[float]:
    if array.dtype.kind != "f" or array.size == 0:
        return []
    limit = float(np.finfo(np.float32).max)
    largest = float(np.nan_to_num(array.reshape(-1)[np.abs(array).argmax()], posinf=limit, neginf=-limit))
    return [largest] if abs(largest) >= HUGE else []

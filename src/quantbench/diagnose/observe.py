"""Observers of activations: of real examples one by one, and of calibration samples as they set the ranges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from quantbench.diagnose.causes import Example, Extremes, Span, join, position_axes, span
from quantbench.graph.edit import with_outputs
from quantbench.plugins.examples import Examples, Processor
from quantbench.plugins.quantizing import Samples
from quantbench.quantize import sessions
from quantbench.quantize.calibration.ranges import accepted, open_session
from quantbench.quantize.fake_quant import Rounding

AT_ONCE = 16
"""Tensors of padded samples that are observed in one pass: every output of a graph is held to the end of a run."""


@dataclass
class RoundingNoise:
    """An observer of one tensor: the range that real examples need, and the noise that rounding adds to them.

    Attributes:
        needed: smallest and largest value.
        signal: sum of squares by channel, the last axis; of all values where that axis is positions.
        noise: sum of squares of what rounding changes, likewise.
        clipped: the part of it from values beyond the range.
        shapes: the tensor's shape in each example.

    """

    needed: Span = (np.inf, -np.inf)
    signal: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(()))
    noise: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(()))
    clipped: float = 0.0
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, values: np.ndarray[Any, Any], item: Rounding) -> None:
        """Take in one example's values."""
        self.needed = join(self.needed, span(values))
        error = (item.apply(values).astype(np.float64) - values) ** 2
        self.signal = _added(self.signal, values.astype(np.float64) ** 2, bool(self.shapes))
        self.noise = _added(self.noise, error, bool(self.shapes))
        low, high = item.range
        if self.needed[0] < low or self.needed[1] > high:
            self.clipped += float(error[(values < low) | (values > high)].sum())
        self.shapes.append(values.shape)

    @property
    def decibels(self) -> float | None:
        """Signal-to-quantization-noise ratio (SQNR) in dB; None where rounding changes nothing."""
        return _ratio(float(self.signal.sum()), float(self.noise.sum()))

    @property
    def median_decibels(self) -> float | None:
        """SQNR in dB of the median channel, channels of zeros left out; None where rounding does not change it."""
        pairs = zip(self.signal.reshape(-1), self.noise.reshape(-1), strict=True)
        ratios = [_ratio(float(signal), float(noise)) for signal, noise in pairs if signal > 0]
        known = [math.inf if ratio is None else ratio for ratio in ratios]
        median = float(np.median(known)) if known else math.inf
        return median if math.isfinite(median) else None

    @property
    def clipping(self) -> float:
        """Share of the noise that comes from values beyond the range."""
        noise = float(self.noise.sum())
        return self.clipped / noise if noise else 0.0


def _added(total: np.ndarray[Any, Any], squares: np.ndarray[Any, Any], begun: bool) -> np.ndarray[Any, Any]:
    """Sums by the last axis, as long as that is of one size; of everything from then on."""
    by_channel: np.ndarray[Any, Any] = squares.reshape(-1, squares.shape[-1] if squares.ndim else 1).sum(axis=0)
    same = not begun or total.shape == by_channel.shape
    joined: np.ndarray[Any, Any] = np.asarray(total + by_channel if same else total.sum() + by_channel.sum())
    return joined


def _ratio(signal: float, noise: float) -> float | None:
    return None if noise == 0 else 10 * math.log10(max(signal, 1e-300) / noise)


def example_of(inputs: Mapping[str, Any], processor: Processor) -> Example:
    """One collated input with what the processor knows of its positions."""
    known = processor.positions(inputs)
    return Example(inputs, known.length, known.tokens, np.asarray(known.special, dtype=bool))


def unpadded(examples: Examples, processor: Processor) -> list[Example]:
    """Inputs one by one, without padding."""
    return [example_of(processor.collate([item]), processor) for item in examples.inputs]


def calibration_samples(samples: Samples, chosen: Sequence[int], processor: Processor) -> list[Example]:
    """Some calibration samples as they set the ranges."""
    return [example_of(samples.sample(index), processor) for index in chosen]


def rounding_noise(
    model: onnx.ModelProto, roundings: Sequence[Rounding], examples: Sequence[Example], threads: int
) -> dict[str, RoundingNoise]:
    """An observer of every rounded tensor, by its name.

    Args:
        model: the int8 model with no activation rounded.
        roundings: the roundings of the int8 model.
        examples: without padding.
        threads: of the session.

    """
    found = {item.tensor: RoundingNoise() for item in roundings}
    outputs = with_outputs(model, [item.source for item in roundings])
    session = open_session(sessions.serialized(outputs), threads)
    for example in examples:
        values = session.run(None, accepted(session, example.inputs))
        for item, array in zip(roundings, values, strict=True):
            found[item.tensor].add(array, item)
    return found


def extremes(
    model: onnx.ModelProto,
    roundings: Sequence[Rounding],
    examples: Sequence[Example],
    axes: Mapping[str, tuple[int, ...]],
    threads: int,
) -> Iterator[tuple[str, Extremes]]:
    """An observer of the extremes of every tensor; a few tensors are observed at a time, over all examples."""
    for start in range(0, len(roundings), AT_ONCE):
        part = roundings[start : start + AT_ONCE]
        outputs = with_outputs(model, [item.source for item in part])
        session = open_session(sessions.serialized(outputs), threads)
        found = [Extremes(axes[item.tensor]) for item in part]
        for example in examples:
            for observer, values in zip(found, session.run(None, accepted(session, example.inputs)), strict=True):
                observer.add(values, example)
        yield from ((item.tensor, observer) for item, observer in zip(part, found, strict=True))


def axes_of(noise: Mapping[str, RoundingNoise], examples: Sequence[Example]) -> dict[str, tuple[int, ...]]:
    """The axes of every tensor that are positions."""
    lengths = [example.length for example in examples]
    return {name: position_axes(item.shapes, lengths) for name, item in noise.items()}

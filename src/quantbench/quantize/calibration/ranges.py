"""Ranges of activations, collected in a stream: memory does not grow with the number of samples.

Written by hand for that: the histogram calibraters of ``onnxruntime.quantization`` hold the tensors of all samples.

A first pass reduces every tensor to its minimum and maximum inside the graph. Methods that need a distribution make a
second pass, which counts every tensor into a histogram of fixed edges; where the tensors of a long sample are too many
to hold, the pass is made several times, for some of the tensors each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from quantbench.graph import external
from quantbench.graph.edit import set_outputs
from quantbench.graph.view import Graph
from quantbench.plugins.examples import Inputs
from quantbench.plugins.registry import runtime
from quantbench.quantize import sessions
from quantbench.schema.reporter import Advance
from quantbench.schema.settings import Calibration
from quantbench.served.onnxruntime import session_options

BINS = 2048
LEVELS = 128
"""Quantization levels of one sign, as in Migacz 2017."""
MAX_HELD = 64_000_000
"""Most float values that are held at once to be counted (256 MB), unless one tensor alone is larger."""
CHUNK = 1 << 16
"""Values counted at a time: few enough to stay in a core's cache, which makes counting ten times faster."""

Ranges = dict[str, tuple[float, float]]
Sample = Callable[[int], Inputs]


def float_tensors(graph: Graph) -> list[str]:
    """Computed float tensors that a quantizable operator reads or writes, in the graph's order."""
    quantizable = set(runtime("onnxruntime").OPERATORS["static"])
    found = dict.fromkeys(
        name
        for node in graph.nodes
        if node.op_type in quantizable
        for name in (*node.input, *node.output)
        if name and not graph.is_constant(name) and graph.is_float(name)
    )
    return list(found)


@dataclass
class Collector:
    """Collects the ranges of a float model's tensors.

    Attributes:
        model: path of the float ONNX file.
        samples: number of calibration samples.
        sample: gives sample ``i`` as arrays of shape (1, length); called at least once per pass.
        threads: threads of the session.
        advance: told 1 after each sample and pass.

    """

    model: Path
    samples: int
    sample: Sample
    threads: int
    advance: Advance = lambda _: None
    _sizes: dict[int, list[int]] = field(default_factory=dict)

    def collect(self, calibration: Calibration) -> Ranges:
        """The range of every float tensor by the given method.

        ``minmax``: over all samples, or with ``moving_average`` the exponential average of the samples' extremes
        (constant ``averaging_constant``). ``percentile``: cuts half of what lies outside on either side. ``entropy``:
        the symmetric threshold of least Kullback-Leibler divergence (Migacz 2017, "8-bit inference with TensorRT").
        """
        tensors = float_tensors(Graph.read(self.model))
        lows, highs = self._extremes(tensors, calibration)
        if calibration.method == "minmax":
            return {t: (float(a), float(b)) for t, a, b in zip(tensors, lows, highs, strict=True)}
        counts = self._histograms(tensors, np.maximum(np.abs(lows), np.abs(highs)))
        result: Ranges = {}
        for index, name in enumerate(tensors):
            low, high = float(lows[index]), float(highs[index])
            edge = max(abs(low), abs(high))
            if calibration.method == "percentile":
                cut = percentile_range(counts[index], edge, calibration.percentile)
            else:
                threshold = entropy_threshold(counts[index], edge)
                cut = (-threshold, threshold)
            # Bins are coarser than values: a cut may end up a little outside of what was seen.
            result[name] = (min(max(low, cut[0]), high), max(min(high, cut[1]), low))
        return result

    @staticmethod
    def passes(calibration: Calibration) -> int:
        """How often every sample is run."""
        return 1 if calibration.method == "minmax" else 2

    def _extremes(self, tensors: Sequence[str], calibration: Calibration) -> tuple[np.ndarray[Any, Any], ...]:
        session = open_session(_with_reductions(self.model, tensors), self.threads)
        lows = highs = None
        for index in range(self.samples):
            inputs = accepted(session, self.sample(index))
            values = session.run([f"{t}/{kind}" for kind in ("min", "max", "size") for t in tensors], inputs)
            low, high = (
                _finite(np.array(part)) for part in (values[: len(tensors)], values[len(tensors) : -len(tensors)])
            )
            self._sizes[_length(inputs)] = [int(size) for size in values[-len(tensors) :]]
            if lows is None or highs is None:
                lows, highs = low, high
            elif calibration.moving_average:
                lows = lows + calibration.averaging_constant * (low - lows)
                highs = highs + calibration.averaging_constant * (high - highs)
            else:
                lows, highs = np.minimum(lows, low), np.maximum(highs, high)
            self.advance(1)
        assert lows is not None and highs is not None, "there is at least one sample"
        return lows, highs

    def _histograms(self, tensors: Sequence[str], edges: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        largest = np.max(list(self._sizes.values()), axis=0)
        parts = list(_parts([int(size) for size in largest]))
        counts = np.zeros((len(tensors), BINS), dtype=np.int64)
        for number, part in enumerate(parts):
            # A session of its own: ONNX Runtime holds every output of a graph to the end of a run, asked for or not.
            session = session_of(self.model, [tensors[i] for i in part], self.threads)
            for index in range(self.samples):
                values = session.run(None, accepted(session, self.sample(index)))
                for i in reversed(part):
                    counts[i] += histogram(values.pop(), float(edges[i]))
                step = number * self.samples + index
                self.advance((step + 1) // len(parts) - step // len(parts))
        return counts


def histogram(values: np.ndarray[Any, Any], edge: float) -> np.ndarray[Any, Any]:
    """Counts of values in ``BINS`` equal bins between -edge and edge.

    What lies outside, infinities too, counts at the ends; what is not a number counts as zero.
    """
    counts = np.zeros(BINS, dtype=np.int64)
    if np.float32(edge) == 0:
        counts[BINS // 2] = values.size
        return counts
    flat = values.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        scaled = flat[start : start + CHUNK] / np.float32(edge)
        scaled *= np.float32(BINS / 2)
        scaled += np.float32(BINS / 2)
        np.nan_to_num(np.clip(scaled, 0, BINS - 1, out=scaled), copy=False, nan=BINS / 2)
        counts += np.bincount(scaled.astype(np.int64), minlength=BINS)
    return counts


def percentile_range(counts: np.ndarray[Any, Any], edge: float, percentile: float) -> tuple[float, float]:
    """Edges of the bins between which ``percentile`` percent of the values lie, the rest cut equally on both sides."""
    share = np.cumsum(counts) / counts.sum()
    cut = (100 - percentile) / 200
    width = 2 * edge / BINS
    low = int(np.searchsorted(share, cut, side="right"))
    high = int(np.searchsorted(share, 1 - cut, side="left"))
    return -edge + min(low, BINS - 1) * width, -edge + min(high + 1, BINS) * width


def entropy_threshold(counts: np.ndarray[Any, Any], edge: float) -> float:
    """The magnitude at which clipping loses least information.

    Args:
        counts: histogram between -edge and edge.
        edge: largest magnitude.

    """
    magnitudes = counts[BINS // 2 :] + counts[: BINS // 2][::-1]
    bins = len(magnitudes)
    best, best_size = np.inf, bins
    for size in range(LEVELS, bins + 1, LEVELS // 16):
        divergence = _divergence(magnitudes, size)
        if divergence <= best:
            best, best_size = divergence, size
    return edge * best_size / bins


def _divergence(magnitudes: np.ndarray[Any, Any], size: int) -> float:
    """Kullback-Leibler divergence of the clipped distribution from its ``LEVELS``-level version."""
    kept = magnitudes[:size].astype(np.float64)
    clipped = kept.copy()
    clipped[-1] += magnitudes[size:].sum()
    level = np.arange(size) * LEVELS // size
    occupied = np.bincount(level, weights=kept > 0, minlength=LEVELS)
    sums = np.bincount(level, weights=kept, minlength=LEVELS)
    spread = np.where(kept > 0, (sums / np.maximum(occupied, 1))[level], 0.0)
    if spread.sum() == 0:
        return float("inf")
    p = (clipped + 1e-4) / (clipped + 1e-4).sum()
    q = (spread + 1e-4) / (spread + 1e-4).sum()
    return float((p * np.log(p / q)).sum())


def _parts(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Indices of tensors in groups of at most ``MAX_HELD`` values."""
    part: list[int] = []
    held = 0
    for index, size in enumerate(sizes):
        if part and held + size > MAX_HELD:
            yield part
            part, held = [], 0
        part.append(index)
        held += size
    if part:
        yield part


def _with_reductions(path: Path, tensors: Sequence[str]) -> sessions.Serialized:
    """The model with the extremes and sizes of tensors as its only outputs.

    ONNX Runtime goes through the final nodes from the last to the first and executes what each needs. With the
    reductions of the first tensors at the end, every tensor is reduced as soon as it is made and can be let go; the
    other way round all are held to the end.
    """
    model = external.read(path)
    graph = model.graph
    set_outputs(model, ())
    for name in reversed(tensors):
        for kind, operator, kind_type in (
            ("min", "ReduceMin", TensorProto.FLOAT),
            ("max", "ReduceMax", TensorProto.FLOAT),
            ("size", "Size", TensorProto.INT64),
        ):
            attributes = {} if operator == "Size" else {"keepdims": 0}
            graph.node.append(helper.make_node(operator, [name], [f"{name}/{kind}"], **attributes))
            graph.output.append(helper.make_tensor_value_info(f"{name}/{kind}", kind_type, []))
    return sessions.serialized(model)


def session_of(path: Path, tensors: Sequence[str], threads: int) -> Any:
    """A session of a model file that gives the named float tensors instead of its outputs."""
    return open_session(_with_outputs(path, tensors), threads)


def _with_outputs(path: Path, tensors: Sequence[str]) -> sessions.Serialized:
    """The model serialized, so that it is not held twice while its session is made."""
    model = external.read(path)
    set_outputs(model, tensors)
    return sessions.serialized(model)


def open_session(model: sessions.Serialized, threads: int) -> Any:
    """A session that gives memory back between samples of different lengths."""
    options = session_options(1, threads)
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return sessions.session(model, options)


def accepted(session: Any, inputs: Inputs) -> Mapping[str, Any]:
    """Those of the inputs that the model has."""
    names = {item.name for item in session.get_inputs()}
    return {name: array for name, array in inputs.items() if name in names}


def _length(inputs: Mapping[str, Any]) -> int:
    return int(next(iter(inputs.values())).size)


def _finite(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Infinities as the largest floats, so that a mask of minus infinity has a range."""
    limit = float(np.finfo(np.float32).max)
    finite: np.ndarray[Any, Any] = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=limit, neginf=-limit)
    return finite

"""Float graphs as they run: shapes of all their tensors, and whether two give the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from quantbench.graph import edit
from quantbench.graph.positions import Shapes
from quantbench.pipeline.model import Model
from quantbench.quantize import sessions

RUNS = ((3, 11), (5, 17))
"""Batch sizes and lengths: primes that are no other axis of a model, so that axes alike by chance differ in a run."""
CHECKED = ((1, 1), (2, 7), (4, 33))
"""Batch sizes and lengths at which two are compared."""
ROUNDING = 1e-4
"""Share of the largest output by which sums in another order may move one."""
LARGEST = 2**31 - 1
"""Bytes of a message of protobuf, which a graph is whose weights were changed."""
Arrays = Mapping[str, np.ndarray[Any, Any]]


def shapes_of(exported: onnx.ModelProto, model: Model) -> Shapes:
    """The shapes of all tensors of an export by name, in every run."""
    return [_shapes(exported, model.processor.exact_inputs(*run, seed=0)) for run in RUNS]


def _shapes(exported: onnx.ModelProto, inputs: Arrays) -> dict[str, tuple[int, ...]]:
    names = [name for node in exported.graph.node for name in node.output if name]
    every = edit.copy(exported)
    del every.graph.output[:]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = outputs(every, inputs)
    return {
        **{name: np.shape(value) for name, value in zip(names, found, strict=True)},
        **{name: array.shape for name, array in inputs.items()},
    }


def difference(given: onnx.ModelProto, found: onnx.ModelProto, model: Model) -> str | None:
    """Where and by how much two graphs give something else than each other; None where they give the same."""
    for run in CHECKED:
        inputs = model.processor.exact_inputs(*run, seed=1)
        for one, other in zip(outputs(given, inputs), outputs(found, inputs), strict=True):
            most = float(np.abs(one).max(initial=0))
            apart = float(np.abs(one - other).max(initial=0)) if one.shape == other.shape else np.inf
            if not apart <= ROUNDING * most:
                return f"at {run[0]} × {run[1]}, by {apart:.2g} of {most:.2g}"
    return None


def outputs(exported: onnx.ModelProto, inputs: Arrays) -> list[Any]:
    """What a model gives, computed without any optimization."""
    names = {item.name for item in exported.graph.input}
    session = sessions.of_graph(exported, 0, 1)
    return list(session.run(None, {name: array for name, array in inputs.items() if name in names}))

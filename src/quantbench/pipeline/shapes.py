"""Shapes of all tensors of a float export, seen while it runs: axes that are alike by chance differ in some run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from quantbench.graph import edit
from quantbench.graph.positions import Shapes
from quantbench.pipeline.model import Model
from quantbench.quantize import sessions
from quantbench.served.onnxruntime import session_options

RUNS = ((3, 11), (5, 17))
"""Batch sizes and lengths: primes that are no other axis of a model."""
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


def outputs(exported: onnx.ModelProto, inputs: Arrays) -> list[Any]:
    """What a model gives, computed without any optimization."""
    names = {item.name for item in exported.graph.input}
    session = sessions.session(sessions.serialized(exported), session_options(0, 1))
    return list(session.run(None, {name: array for name, array in inputs.items() if name in names}))

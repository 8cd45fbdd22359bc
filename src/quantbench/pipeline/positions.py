"""The float model that computes only what is read: made from the export, and held against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from quantbench.errors import RunFailed
from quantbench.graph import edit, external
from quantbench.graph.positions import narrowed
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.model import Model
from quantbench.quantize import sessions
from quantbench.served.onnxruntime import session_options
from quantbench.sources.export import FILE, exported_sha256, write_tidied

RUNS = ((3, 11), (5, 17))
"""Batch sizes and lengths of the runs that shapes are taken from: primes that are no other axis of a model."""
CHECKED = ((1, 1), (2, 7), (4, 33))
"""Batch sizes and lengths at which both are compared."""
ROUNDING = 1e-4
"""Share of the largest output by which sums in another order may move one."""
Arrays = Mapping[str, np.ndarray[Any, Any]]


def read_only(exported: FloatModel, model: Model, context: Context) -> FloatModel:
    """The export without what nothing reads, made once on this machine; itself where everything is read.

    Raises:
        RunFailed: if it gives something else.

    """
    inputs = {"exported": exported}
    path = context.cache.path("positions", inputs, FILE)

    def make() -> str | None:
        if exported_sha256(path) is None:
            given = external.read(exported.path)
            found = narrowed(given, [_shapes(given, model.processor.exact_inputs(*run, seed=0)) for run in RUNS])
            if found is None:
                return None
            _hold(given, found, model)
            write_tidied(found, path)
        return exported_sha256(path)

    sha256 = context.cache.once("positions", inputs, make)
    return exported if sha256 is None else FloatModel(path, sha256)


def _shapes(model: onnx.ModelProto, inputs: Arrays) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of a model in a run, by name."""
    names = [name for node in model.graph.node for name in node.output if name]
    every = edit.copy(model)
    del every.graph.output[:]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = _run(every, inputs)
    return {
        **{name: np.shape(value) for name, value in zip(names, found, strict=True)},
        **{name: array.shape for name, array in inputs.items()},
    }


def _hold(given: onnx.ModelProto, found: onnx.ModelProto, model: Model) -> None:
    for run in CHECKED:
        inputs = model.processor.exact_inputs(*run, seed=1)
        for one, other in zip(_run(given, inputs), _run(found, inputs), strict=True):
            most = float(np.abs(one).max(initial=0))
            apart = float(np.abs(one - other).max(initial=0)) if one.shape == other.shape else np.inf
            if not apart <= ROUNDING * most:
                raise RunFailed(
                    f"positions: read gives something else than the export at {run[0]} × {run[1]}, by {apart:.2g} of "
                    f"{most:.2g}; leave it at all"
                )


def _run(model: onnx.ModelProto, inputs: Arrays) -> list[Any]:
    names = {item.name for item in model.graph.input}
    session = sessions.session(sessions.serialized(model), session_options(0, 1))
    return list(session.run(None, {name: array for name, array in inputs.items() if name in names}))

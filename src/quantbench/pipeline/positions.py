"""The float model that computes only what is read: made from the export, and held against it."""

from __future__ import annotations

import numpy as np
import onnx

from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.graph.positions import narrowed
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.model import Model
from quantbench.pipeline.shapes import outputs, shapes_of
from quantbench.sources.export import FILE, exported_sha256, write_tidied

CHECKED = ((1, 1), (2, 7), (4, 33))
"""Batch sizes and lengths at which both are compared."""
ROUNDING = 1e-4
"""Share of the largest output by which sums in another order may move one."""


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
            found = narrowed(given, shapes_of(given, model))
            if found is None:
                return None
            _hold(given, found, model)
            write_tidied(found, path)
        return exported_sha256(path)

    sha256 = context.cache.once("positions", inputs, make)
    return exported if sha256 is None else FloatModel(path, sha256)


def _hold(given: onnx.ModelProto, found: onnx.ModelProto, model: Model) -> None:
    for run in CHECKED:
        inputs = model.processor.exact_inputs(*run, seed=1)
        for one, other in zip(outputs(given, inputs), outputs(found, inputs), strict=True):
            most = float(np.abs(one).max(initial=0))
            apart = float(np.abs(one - other).max(initial=0)) if one.shape == other.shape else np.inf
            if not apart <= ROUNDING * most:
                raise RunFailed(
                    f"positions: read gives something else than the export at {run[0]} × {run[1]}, by {apart:.2g} of "
                    f"{most:.2g}; leave it at all"
                )

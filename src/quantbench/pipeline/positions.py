"""The float model that computes only what is read: made from the export, and held against it."""

from __future__ import annotations

from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.graph.positions import narrowed
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.graph_runs import difference, shapes_of
from quantbench.pipeline.model import Model
from quantbench.sources.export import FILE, exported_sha256, write_tidied


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
            if apart := difference(given, found, model):
                raise RunFailed(f"positions: read gives something else than the export {apart}; leave it at all")
            write_tidied(found, path)
        return exported_sha256(path)

    sha256 = context.cache.once("positions", inputs, make)
    return exported if sha256 is None else FloatModel(path, sha256)

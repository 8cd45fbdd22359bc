"""The float model with small embedding tables, made from the export."""

from __future__ import annotations

from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.quantize.tables import with_small_tables
from quantbench.sources.export import FILE, exported_sha256, write_tidied


def with_tables(exported: FloatModel, number_type: str, context: Context) -> FloatModel:
    """The export with embedding tables of a number type, made once on this machine.

    Raises:
        RunFailed: if it has no table that is only looked up in.

    """
    inputs = {"exported": exported, "number_type": number_type}
    path = context.cache.path("tables", inputs, FILE)

    def make() -> str:
        if exported_sha256(path) is None:
            small = with_small_tables(external.read(exported.path), number_type)
            if small is None:
                raise RunFailed(
                    f"embedding_tables: {number_type}: this model has no table of 64 KiB or more that is only looked "
                    "up in; leave it at float32"
                )
            write_tidied(small, path)
        return str(exported_sha256(path))

    return FloatModel(path, context.cache.once("tables", inputs, make))

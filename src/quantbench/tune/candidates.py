"""The candidates that ``tune`` chooses from on a host: what the quantizers of every runtime here propose."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

from quantbench.config.rules import broken
from quantbench.graph.view import Graph
from quantbench.plugins import registry
from quantbench.plugins.quantizing import Candidate
from quantbench.quantize.tables import float_bytes
from quantbench.schema.settings import FrameworkArgs, Placement, Settings

INT8_SHRINKS, OVERHEAD = 4, 1.2
"""How many times as small int8 is as float32, and as large at most a file is as its numbers."""
OPSET = 17
"""Since opset 17 layer normalization is one node, which every runtime here computes in one pass."""


def opset_for(base: Settings) -> int:
    """The opset of all candidates; a higher one that is asked for, as a model may need it to be exported."""
    return max(OPSET, base.framework_args.opset)


def candidates_for(base: Settings, instruction_sets: Collection[str]) -> list[Candidate]:
    """Every candidate that this host can run, of one base configuration, whose opset counts."""
    found: list[Candidate] = []
    for name in registry.names("runtimes"):
        runtime = registry.runtime(name)
        if _missing(runtime.LIBRARIES):
            continue
        for precision in runtime.precisions(instruction_sets):
            args = FrameworkArgs(opset=base.framework_args.opset, precision=precision)
            for approach, name_of_quantizer in runtime.QUANTIZERS.items():
                quantizer = registry.quantizer(name_of_quantizer)
                if _missing(quantizer.LIBRARIES):
                    continue
                own = base.model_copy(
                    update={
                        "framework": name,
                        "framework_args": args,
                        "quantization_approach": approach,
                        "operators_to_quantize": ("MatMul",),
                        "node_exclusion": (),
                        "per_channel": True,
                        "activation_type": "auto",
                        "weight_type": "auto",
                        "placement": Placement(),
                        "aware_training": False,  # which a search does by itself, of what is worth it
                    }
                )
                if any(broken(own)):  # a checkpoint has no graph of which less could be computed
                    own = own.model_copy(update={"positions": "all", "embedding_tables": "float32"})
                found += quantizer.candidates(own)
    return found


def needs_small_tables(exported: Graph, size: int, largest: int) -> bool:
    """Whether a version of ``largest`` bytes needs its embedding tables in int8, all else of it being in int8.

    Args:
        exported: the float export.
        size: of its files.
        largest: that a version may be.

    """
    tables = float_bytes(exported)
    return tables > 0 and OVERHEAD * (tables + (size - tables) / INT8_SHRINKS) > largest


def _missing(libraries: Collection[str]) -> bool:
    return any(find_spec(library) is None for library in libraries)

"""Embeddings: the look-ups in constant tables and the Adds that sum them up.

The reference system selected the Adds behind a Gather; the look-ups themselves belong to the same place in the model.
"""

from __future__ import annotations

from onnx import NodeProto

from quantbench.graph import Graph

SUMMARY = "embedding look-ups and the additions of their sum"


def select(graph: Graph) -> set[str]:
    """Names of Gathers in float tables, and of Adds that read one directly."""
    found = set()
    for look_up in graph.of_type("Gather"):
        if not _is_table(graph, look_up):
            continue
        found.add(look_up.name)
        found |= {node.name for node in graph.consumers(look_up) if node.op_type == "Add"}
    return found


def _is_table(graph: Graph, node: NodeProto) -> bool:
    return graph.is_constant(node.input[0]) and graph.is_float(node.input[0])

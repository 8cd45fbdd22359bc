"""Embeddings: the look-ups in constant tables and the Adds that sum them up.

The reference system selected the Adds behind a Gather; the look-ups themselves belong to the same place in the model,
and so does the Add of a whole table of positions, as ViT has it (Dosovitskiy et al., 2020).
"""

from __future__ import annotations

from onnx import NodeProto

from quantbench.graph.view import Graph

SUMMARY = "embedding look-ups and the additions of their sum"


def select(graph: Graph) -> set[str]:
    """Names of Gathers in float tables, of Adds that read one directly, and of Adds of a whole table."""
    found = {node.name for node in graph.of_type("Add") if any(_is_positions(graph, name) for name in node.input)}
    for look_up in graph.of_type("Gather"):
        if not _is_table(graph, look_up):
            continue
        found.add(look_up.name)
        found |= {node.name for node in graph.consumers(look_up) if node.op_type == "Add"}
    return found


def _is_table(graph: Graph, node: NodeProto) -> bool:
    return graph.is_constant(node.input[0]) and graph.is_float(node.input[0])


def _is_positions(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a constant of shape (1, positions, width)."""
    if not graph.is_constant(tensor) or not graph.is_float(tensor):
        return False
    shape = graph.array(tensor).shape
    return len(shape) == 3 and shape[0] == 1 and min(shape[1:]) > 1

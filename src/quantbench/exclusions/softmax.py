"""Attention probabilities: Softmax, and the Add of the mask before it.

The mask holds the most negative float, so that the sum's range cannot be quantized; the reference system selected that
Add.
"""

from __future__ import annotations

from quantbench.graph import Graph

SUMMARY = "softmax, and the addition of the attention mask before it"


def select(graph: Graph) -> set[str]:
    """Names of Softmax nodes and of the Adds whose sum they read."""
    found = set()
    for node in graph.of_type("Softmax"):
        found.add(node.name)
        before = graph.producer(node.input[0])
        if before is not None and before.op_type == "Add":
            found.add(before.name)
    return found

"""Attention probabilities: Softmax, and the Add of the mask before it (in DeBERTa a Where).

The mask holds the most negative float, so that the sum's range cannot be quantized; the reference system selected that
Add.
"""

from __future__ import annotations

from quantbench.graph.view import Graph

SUMMARY = "softmax, and the attention mask before it"
MASKS = ("Add", "Where")


def select(graph: Graph) -> set[str]:
    """Names of Softmax nodes and of what masks the scores that they read."""
    found = set()
    for node in graph.of_type("Softmax"):
        found.add(node.name)
        before = graph.producer(node.input[0])
        if before is not None and before.op_type in MASKS:
            found.add(before.name)
    return found

"""Embeddings: the look-ups in constant tables and the Adds that sum them up.

The reference system selected the Adds behind a Gather; the look-ups themselves belong to the same place in the model,
and so does the Add of a whole table of positions, as ViT has it (Dosovitskiy et al., 2020).
"""

from __future__ import annotations

from quantbench.graph.patterns import embeddings
from quantbench.graph.view import Graph

SUMMARY = "embedding look-ups and the additions of their sum"


def select(graph: Graph) -> set[str]:
    """Names of Gathers in float tables, of Adds that read one directly, and of Adds of a whole table."""
    return embeddings(graph)

"""Residual connections (He et al., 2015): an Add of two computed tensors, one of them a projection's output.

The reference system selected every Add behind an Add, which finds the same nodes in BERT-like encoders; this rule also
finds them where projections have no bias. Attention masks and sums of embeddings belong to other groups.
"""

from __future__ import annotations

from quantbench.graph.patterns import residual_sums
from quantbench.graph.view import Graph

SUMMARY = "additions of residual connections"


def select(graph: Graph) -> set[str]:
    """Names of the Adds that join a residual branch."""
    return residual_sums(graph)

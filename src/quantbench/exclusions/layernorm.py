"""Layer normalization (Ba et al., 2016): ``(x - mean) / sqrt(variance + epsilon) * weight + bias``.

Single node: LayerNormalization (opset 17), SimplifiedLayerNormalization, RMSNormalization and the Skip forms.
Decomposed: ReduceMean, Sub, Pow or Mul, ReduceMean, Add, Sqrt, Div, and Mul and Add where there are weight and bias.
"""

from __future__ import annotations

from onnx import NodeProto

from quantbench.graph.view import Graph

SUMMARY = "layer normalizations, whole"
SINGLE = (
    "LayerNormalization",
    "SimplifiedLayerNormalization",
    "RMSNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
)


def select(graph: Graph) -> set[str]:
    """Names of all nodes of all layer normalizations."""
    found = {node.name for node in graph.of_type(*SINGLE)}
    for mean in graph.of_type("ReduceMean"):
        found |= {node.name for node in _from_mean(graph, mean)}
    return found


def _from_mean(graph: Graph, mean: NodeProto) -> list[NodeProto]:
    """The nodes of the normalization whose first node is ``mean``; empty if it is another node."""
    for center in _readers(graph, mean, "Sub"):
        if center.input[0] != mean.input[0]:
            continue
        for square in _readers(graph, center, "Pow", "Mul"):
            chain = _follow(graph, square, ("ReduceMean", "Add", "Sqrt", "Div"))
            if chain and chain[-1].input[0] == center.output[0]:
                return [mean, center, square, *chain, *_affine(graph, chain[-1])]
    return []


def _follow(graph: Graph, start: NodeProto, types: tuple[str, ...]) -> list[NodeProto]:
    chain, node = [], start
    for wanted in types:
        following = next(iter(_readers(graph, node, wanted)), None)
        if following is None:
            return []
        chain.append(following)
        node = following
    return chain


def _affine(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """Multiplication by the weight and addition of the bias, both constant; DeBERTa has a Cast before them."""
    found = []
    node = next(iter(_readers(graph, node, "Cast")), node)
    for wanted in ("Mul", "Add"):
        following = next((n for n in _readers(graph, node, wanted) if len(graph.variable_inputs(n)) == 1), None)
        if following is None:
            break
        found.append(following)
        node = following
    return found


def _readers(graph: Graph, node: NodeProto, *types: str) -> list[NodeProto]:
    return [reader for reader in graph.consumers(node) if reader.op_type in types]

"""Residual connections (He et al., 2015): an Add of two computed tensors, one of them a projection's output.

The reference system selected every Add behind an Add, which finds the same nodes in BERT-like encoders; this rule also
finds them where projections have no bias. Attention masks and sums of embeddings belong to other groups.
"""

from __future__ import annotations

from onnx import NodeProto

from quantbench.graph.view import Graph

SUMMARY = "additions of residual connections"
ELEMENTWISE = ("Mul", "Pow", "Div", "Sqrt", "Tanh", "Erf", "Sigmoid")
PROJECTIONS = ("MatMul", "Gemm", "Conv", "MatMulInteger")


def select(graph: Graph) -> set[str]:
    """Names of the Adds that join a residual branch."""
    return {node.name for node in graph.of_type("Add") if _joins(graph, node)}


def _joins(graph: Graph, node: NodeProto) -> bool:
    inputs = graph.variable_inputs(node)
    if len(inputs) != 2 or not any(graph.is_float(name) for name in (*inputs, *node.output)):
        return False
    if any(reader.op_type == "Softmax" for reader in graph.consumers(node)):
        return False
    return any(
        _is_projection(graph, branch) and not _is_function_of(graph, other, branch)
        for branch, other in (inputs, reversed(inputs))
    )


def _is_function_of(graph: Graph, tensor: str, origin: str) -> bool:
    """Whether a tensor is ``origin`` itself or is made of it element by element, as the cubic term of a GELU is."""
    if tensor == origin:
        return True
    node = graph.producer(tensor)
    return (
        node is not None
        and node.op_type in ELEMENTWISE
        and any(_is_function_of(graph, name, origin) for name in graph.variable_inputs(node))
    )


def _is_projection(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a projection with constant weights, with or without its bias added."""
    node = graph.producer(tensor)
    if node is not None and node.op_type == "Add" and len(graph.variable_inputs(node)) == 1:
        node = graph.producer(graph.variable_inputs(node)[0])
    return node is not None and node.op_type in PROJECTIONS and any(map(graph.is_constant, node.input))

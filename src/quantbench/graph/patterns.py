"""Parts of a transformer's graph that are known by how its nodes are connected, whatever these are called.

Matched by hand, as are the exclusion groups and attention: only names of nodes are asked for, in the forms of opsets 11
to 20, decomposed or not, while the rewriter of onnxscript matches one form per pattern in order to replace it.
"""

from __future__ import annotations

from onnx import NodeProto

from quantbench.graph.view import Graph

ELEMENTWISE = ("Mul", "Pow", "Div", "Sqrt", "Tanh", "Erf", "Sigmoid")
SCALING = ("Cast", "Div", "Floor", "Mul", "Sub", "Concat")
"""By which whole numbers that were looked up become floats."""
PROJECTIONS = ("MatMul", "Gemm", "Conv", "MatMulInteger")


def residual_sums(graph: Graph) -> set[str]:
    """Names of the Adds that join a residual branch (He et al., 2015).

    They add two computed tensors, one of them the output of a projection with or without bias; attention masks and sums
    of embeddings are none.
    """
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


def embeddings(graph: Graph) -> set[str]:
    """Names of Gathers in tables of floats, or of whole numbers with scales, with what makes floats of these; of Adds
    that read one directly, and of Adds of a whole table.
    """
    found = {node.name for node in graph.of_type("Add") if any(_is_positions(graph, name) for name in node.input)}
    for look_up in graph.of_type("Gather"):
        looked_up = _looked_up(graph, look_up)
        found |= {node.name for node in looked_up}
        found |= {node.name for maker in looked_up[-1:] for node in graph.consumers(maker) if node.op_type == "Add"}
    return found


def _looked_up(graph: Graph, look_up: NodeProto) -> list[NodeProto]:
    """A Gather in a table and the nodes that make floats of what it gives, the last of them last; none in no table."""
    if not graph.is_constant(look_up.input[0]):
        return []
    if graph.is_float(look_up.input[0]):
        return [look_up]
    if graph.array(look_up.input[0]).dtype.name not in ("int8", "uint8"):
        return []
    found, ahead = [look_up], graph.consumers(look_up)
    while ahead:
        node = ahead.pop(0)
        if node in found or node.op_type not in SCALING:
            continue
        found.append(node)
        if any((maker := graph.producer(name)) is not None and maker.op_type == "Gather" for name in node.input[1:]):
            return found  # times the scales, which are looked up, too
        ahead += graph.consumers(node)
    return []


def _is_positions(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a constant of shape (1, positions, width)."""
    if not graph.is_constant(tensor) or not graph.is_float(tensor):
        return False
    shape = graph.array(tensor).shape
    return len(shape) == 3 and shape[0] == 1 and min(shape[1:]) > 1

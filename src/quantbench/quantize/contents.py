"""What is quantized in a file of any origin: operators, weights that are only stored in few bits, fixed ranges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from onnx import NodeProto, TensorProto, helper

from quantbench.graph.view import Graph
from quantbench.quantize.fake_quant import find_roundings
from quantbench.quantize.inspection import FLOAT_OUTPUT, quantized_as, quantized_operators

RANGE_MAKERS = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
"""Operators that find the range of an activation when they are run."""
BLOCKS = {"MatMulNBits": "MatMul", "GatherBlockQuantized": "Gather"}
"""Operators of ONNX Runtime that read weights of few bits in blocks and compute in float."""
BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "UINT2": 2}
"""Number types that are smaller than a byte."""


@dataclass(frozen=True)
class Contents:
    """What is quantized in a file.

    Attributes:
        operators: number of operators that compute on quantized values, by the float operator's type.
        stored: number of operators that compute in float with weights of few bits, by type.
        ranges: number of activations whose range is fixed in the file.
        dynamic: whether ranges of activations are found when it is run.
        weights: bytes of all constants by number type.

    """

    operators: dict[str, int]
    stored: dict[str, int]
    ranges: int
    dynamic: bool
    weights: dict[str, int]


def contents(graph: Graph) -> Contents:
    """What is quantized in a graph, whose weights may lie elsewhere."""
    stored = Counter(kind for node in graph.nodes for kind in _stored(graph, node))
    weights: Counter[str] = Counter()
    for tensor in _constants(graph):
        kind = TensorProto.DataType.Name(tensor.data_type)
        numbers = prod(tensor.dims)
        if kind in BITS:
            weights[kind.lower()] += numbers * BITS[kind] // 8
        elif tensor.data_type != TensorProto.STRING:
            numpy_type = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            weights[numpy_type.name] += numbers * numpy_type.itemsize
    return Contents(
        operators=quantized_operators(graph),
        stored=dict(sorted(stored.items())),
        ranges=len(find_roundings(graph)),
        dynamic=any(node.op_type in RANGE_MAKERS for node in graph.nodes),
        weights=dict(weights.most_common()),
    )


def _stored(graph: Graph, node: NodeProto) -> Iterator[str]:
    """The float operator's type, if a node computes in float with weights of few bits."""
    if node.op_type in BLOCKS:
        yield BLOCKS[node.op_type]
    elif node.op_type in (*FLOAT_OUTPUT, "Gather") and quantized_as(graph, node) is None:
        makers = [graph.producer(name) for name in node.input]
        if any(maker and maker.op_type == "DequantizeLinear" and graph.is_constant(maker.input[0]) for maker in makers):
            yield node.op_type


def _constants(graph: Graph) -> Iterator[TensorProto]:
    yield from graph.model.graph.initializer
    for node in graph.of_type("Constant"):
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))

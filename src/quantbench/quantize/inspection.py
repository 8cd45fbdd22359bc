"""Which operators of a quantized graph really compute on quantized values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from onnx import NodeProto

from quantbench.graph.view import Graph

INTEGER_FORMS = {
    "MatMulInteger": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "ConvInteger": "Conv",
    "QLinearMatMul": "MatMul",
    "QAttention": "Attention",
    "DynamicQuantizeLSTM": "LSTM",
    "QEmbedLayerNormalization": "EmbedLayerNormalization",
}
"""Operators that compute on integers, by the float operator that they stand for."""
FLOAT_OUTPUT = ("MatMul", "Gemm", "Conv")
"""Operators with integer kernels that may give float outputs."""
TWO_SIDED = (
    "Add",
    "AveragePool",
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "Where",
)
"""Operators that compute on integers, or move them, between two quantized sides (ONNX Runtime 1.32, QDQ fusions of the
CPU provider from optimization level 2 on). All others stay in float there: LayerNormalization, Gelu, Relu, Pad, …"""


def quantized_operators(graph: Graph) -> dict[str, int]:
    """Number of quantized operators by the float operator's type, sorted by type."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        kind = quantized_as(graph, node)
        if kind:
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def left_in_float(graph: Graph, quantized: Mapping[str, int]) -> tuple[str, ...]:
    """A sentence where the float graph is mostly convolutions and no quantized operator is one; else nothing."""
    counts = Counter(node.op_type for node in graph.nodes)
    products = counts["MatMul"] + counts["Gemm"]
    if counts["Conv"] <= products or any(name.startswith("Conv") for name in quantized):
        return ()
    found = f"none of the model's {counts['Conv']} convolutions is quantized"
    return (f"{found}; its other products are {products}; add Conv to operators_to_quantize",)


def quantized_as(graph: Graph, node: NodeProto) -> str | None:
    """The float operator's type if a node computes on quantized values, else None."""
    return INTEGER_FORMS.get(node.op_type) or (node.op_type if _between_quantized(graph, node) else None)


def _between_quantized(graph: Graph, node: NodeProto) -> bool:
    if node.op_type not in (*FLOAT_OUTPUT, *TWO_SIDED):
        return False
    readers = {reader.op_type for reader in graph.consumers(node)}
    if node.op_type == "Gather" and readers == {"DequantizeLinear"}:
        return True
    data = [name for name in node.input if name and (graph.is_float(name) or _is_dequantized(graph, name))]
    if not data or not all(_is_dequantized(graph, name) for name in data):
        return False
    return node.op_type in FLOAT_OUTPUT or readers == {"QuantizeLinear"}


def _is_dequantized(graph: Graph, tensor: str) -> bool:
    node = graph.producer(tensor)
    return node is not None and node.op_type == "DequantizeLinear"

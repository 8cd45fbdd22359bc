"""Where a graph stays in float: nodes that were left out of quantization really compute in float.

ONNX Runtime's quantizer quantizes tensors, not edges: a node that it was told to leave out still reads dequantized
tensors where another reader or the maker of that tensor is quantized. With its output quantized for the next node as
well, the session would fuse it into an integer operator all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx
from onnx import NodeProto

from quantbench.graph.view import Graph
from quantbench.quantize.inspection import FLOAT_OUTPUT, quantized_as

PAIR = ("QuantizeLinear", "DequantizeLinear")


def keep_in_float(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Change a quantized graph so that none of the named nodes computes on quantized values.

    A node that would reads one of its inputs as it was before quantization, which is enough to keep it from being
    fused; preferably an input whose maker stays quantized with a float output too. Nodes that nobody reads any more
    are removed.
    """
    graph = Graph(model)
    for node in graph.nodes:
        if node.name not in names or quantized_as(graph, node) is None:
            continue
        sources = sorted(_float_sources(graph, node), key=lambda source: source[0])
        if sources:
            _, index, tensor = sources[0]
            node.input[index] = tensor
            remove_unread_pairs(model)
            graph = Graph(model)


def _float_sources(graph: Graph, node: NodeProto) -> Iterator[tuple[bool, int, str]]:
    """Inputs that can be read in float: whether that costs the maker its integer form, the place, the float tensor."""
    for index, name in enumerate(node.input):
        dequantize = graph.producer(name)
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            continue
        quantize = graph.producer(dequantize.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue
        maker = graph.producer(quantize.input[0])
        kind = None if maker is None else quantized_as(graph, maker)
        yield kind is not None and kind not in FLOAT_OUTPUT, index, quantize.input[0]


def remove_unread_pairs(model: onnx.ModelProto) -> None:
    """Remove quantizations whose result nobody reads."""
    results = {item.name for item in model.graph.output}
    while True:
        read = results | {name for node in model.graph.node for name in node.input}
        unread = [n for n in model.graph.node if n.op_type in PAIR and not read.intersection(n.output)]
        if not unread:
            return
        for node in unread:
            model.graph.node.remove(node)

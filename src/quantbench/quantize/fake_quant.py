"""Fake quantization: the activations that a graph rounds, and graphs in which that is undone or can be switched.

An activation is rounded by QuantizeLinear and DequantizeLinear with constant scale; its readers read the outcome. What
is found here has the names of the float export: ONNX Runtime's quantizer keeps them, but for the model's own outputs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from quantbench.graph.edit import copy, remove_unread, set_nodes
from quantbench.graph.view import Graph
from quantbench.quantize.keep_float import remove_unread_pairs

SWITCHES = "switches"
"""Input of a switched graph: one truth value per rounding."""


@dataclass(frozen=True)
class Rounding:
    """One activation that is fake-quantized.

    Attributes:
        tensor: its name in the float export.
        source: what is rounded, as the quantized graph calls it; differs from ``tensor`` for the model's outputs.
        quantized: the integers.
        rounded: what the readers read.
        scale: step between two neighbouring numbers.
        zero_point: the integer that stands for 0.
        bounds: smallest and largest integer.
        maker: operator type of the node that makes the tensor.
        readers: names of the nodes that read it rounded.

    """

    tensor: str
    source: str
    quantized: str
    rounded: str
    scale: float
    zero_point: int
    bounds: tuple[int, int]
    maker: str
    readers: tuple[str, ...]

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value that the integers express; what lies beyond is clipped."""
        low, high = ((bound - self.zero_point) * self.scale for bound in self.bounds)
        return low, high

    def apply(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Values as they are after rounding, to the nearest even number as ONNX's QuantizeLinear does."""
        numbers = np.rint(values / np.float32(self.scale)) + self.zero_point
        rounded: np.ndarray[Any, Any] = (np.clip(numbers, *self.bounds) - self.zero_point) * np.float32(self.scale)
        return rounded


def find_roundings(graph: Graph) -> list[Rounding]:
    """All roundings of a graph, in its order."""
    results = {item.name for item in graph.model.graph.output}
    found = []
    for quantize in graph.of_type("QuantizeLinear"):
        source = quantize.input[0]
        scale = graph.array(quantize.input[1])
        zero = graph.array(quantize.input[2]) if len(quantize.input) > 2 else np.uint8(0)
        if graph.is_constant(source) or scale is None or zero is None or scale.size != 1:
            continue
        limits = np.iinfo(zero.dtype)
        maker = graph.producer(source)
        for back in graph.consumers(quantize):
            if back.op_type != "DequantizeLinear":
                continue
            rounded = back.output[0]
            found.append(
                Rounding(
                    tensor=rounded if rounded in results else source,
                    source=source,
                    quantized=quantize.output[0],
                    rounded=rounded,
                    scale=float(scale.reshape(-1)[0]),
                    zero_point=int(np.asarray(zero).reshape(-1)[0]),
                    bounds=(int(limits.min), int(limits.max)),
                    maker=maker.op_type if maker is not None else "input",
                    readers=tuple(node.name for node in graph.consumers(back)),
                )
            )
    return found


def restored(model: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """A copy of a quantized model in which the named activations stay in float: their readers read them unrounded.

    Raises:
        ValueError: if the model does not round one of them.

    """
    changed = copy(model)
    found = find_roundings(Graph(changed))
    unknown = sorted(set(tensors) - {item.tensor for item in found})
    if unknown:
        raise ValueError(f"the model does not round {', '.join(unknown)}")
    sources = {item.rounded: item.source for item in found if item.tensor in tensors}
    results = {item.name for item in changed.graph.output}
    for node in changed.graph.node:
        if node.output and node.output[0] in results and node.output[0] in sources:
            node.CopyFrom(helper.make_node("Identity", [sources[node.output[0]]], [node.output[0]], name=node.name))
        for index, name in enumerate(node.input):
            if name in sources and name not in results:
                node.input[index] = sources[name]
    remove_unread_pairs(changed)
    return changed


def unfolded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a quantized model whose rounded constants are float again, with the values that rounding gave them."""
    changed = copy(model)
    graph = Graph(changed)
    for node in list(graph.of_type("DequantizeLinear")):
        if graph.is_constant(node.input[0]):
            changed.graph.initializer.append(numpy_helper.from_array(_dequantized(graph, node), node.output[0]))
            changed.graph.node.remove(node)
    remove_unread(changed)
    return changed


def _dequantized(graph: Graph, node: NodeProto) -> np.ndarray[Any, Any]:
    numbers, scale = (np.asarray(graph.array(name)) for name in node.input[:2])
    zero = np.asarray(graph.array(node.input[2])) if len(node.input) > 2 else np.zeros_like(scale, dtype=np.uint8)
    if scale.size > 1:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [1] * numbers.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    values: np.ndarray[Any, Any] = (numbers.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
    return values


def switched(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[Rounding]]:
    """A float graph in which every rounding of a quantized one happens or not, by the input ``SWITCHES``.

    Its constants are rounded as in the quantized model. A branch per rounding rather than a choice between two computed
    tensors: what is switched off costs a copy.

    Returns:
        The graph and its roundings, in the order of the switches.

    """
    changed = unfolded(model)
    graph = Graph(changed)
    found = find_roundings(graph)
    number = {item.rounded: index for index, item in enumerate(found)}
    quantized = {item.quantized for item in found}
    nodes: list[NodeProto] = []
    for node in changed.graph.node:
        if node.output and node.output[0] in number:
            index = number[node.output[0]]
            nodes += _switch(graph, found[index], node, index)
        elif not (node.output and node.output[0] in quantized):
            nodes.append(node)
    set_nodes(changed, nodes)
    places = [numpy_helper.from_array(np.int64(index), f"{SWITCHES}/{index}") for index in range(len(found))]
    changed.graph.initializer.extend(places)
    changed.graph.input.append(helper.make_tensor_value_info(SWITCHES, TensorProto.BOOL, [len(found)]))
    return changed, found


def _switch(graph: Graph, item: Rounding, dequantize: NodeProto, index: int) -> list[NodeProto]:
    """The nodes that read the switch, and an If whose branches round the tensor or pass it on."""
    quantize = graph.producer(item.quantized)
    assert quantize is not None, "the integers come from QuantizeLinear"
    back = helper.make_node("DequantizeLinear", list(dequantize.input), [f"{item.rounded}/on"])
    through = helper.make_node("Identity", [item.source], [f"{item.rounded}/off"])
    branches = {
        name: helper.make_graph(nodes, output, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])
        for name, nodes, output in (
            ("then_branch", [quantize, back], f"{item.rounded}/on"),
            ("else_branch", [through], f"{item.rounded}/off"),
        )
    }
    state = f"{SWITCHES}/{index}/state"
    return [
        helper.make_node("Gather", [SWITCHES, f"{SWITCHES}/{index}"], [state], axis=0),
        helper.make_node("If", [state], [item.rounded], name=f"{item.rounded}/switch", **branches),
    ]

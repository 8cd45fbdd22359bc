"""Feed-forward layers of a graph, whose inner width can be made smaller: found by their form, cut neuron by neuron.

A neuron is a column of the products that make the inner tensor and a row of the product that reads it. Between them
every operator acts on each neuron by itself (activation functions, biases, gates), so that taking a neuron changes no
other. What stands there is found from the reading product back; a layer of any other form is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from quantbench.graph import edit
from quantbench.graph.positions import BROADCAST, UNARY
from quantbench.graph.view import Graph

Array = np.ndarray[Any, Any]
FEWEST_AXES = 3
"""Of a tensor that has positions: one without is a head's, which is computed once for a whole input."""


@dataclass(frozen=True, eq=False)
class FeedForward:
    """A feed-forward layer.

    Attributes:
        name: of the node that multiplies the inner tensor.
        inner: the tensor that it reads, of shape (…, neurons).
        neurons: how many there are.
        parts: how many times as wide as the inner tensor each constant is that acts on it, by name: 2 of a gate that is
            made by the same product.
        nodes: names of the nodes that make the inner tensor, from its products on.

    """

    name: str
    inner: str
    neurons: int
    parts: Mapping[str, int] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()

    def matrix(self, graph: Graph) -> Array:
        """Weights of the product that reads the inner tensor, shape (neurons, outputs)."""
        node = graph.node(self.name)
        array: Array = np.asarray(graph.array(node.input[1]))
        return array.T if _transposed(node) else array

    def multiplications(self, graph: Graph) -> int:
        """Of one neuron at one position."""
        inside = [graph.node(name) for name in self.nodes]
        products = [node for node in inside if node.op_type in ("MatMul", "Gemm")]
        sizes = [np.asarray(graph.array(node.input[1])).size for node in products]
        return (sum(sizes) + self.matrix(graph).size) // self.neurons


def find(graph: Graph) -> list[FeedForward]:
    """The feed-forward layers of a graph, in its order; weights that several nodes share are left alone."""
    shared = _shared(graph)
    found = []
    for node in graph.of_type("MatMul", "Gemm"):
        layer = _Region(graph, node).layer()
        if layer is not None and not shared.intersection((node.input[1], *layer.parts)):
            found.append(layer)
    return found


def cut(model: ModelProto, layers: Mapping[FeedForward, tuple[Array, Array]]) -> ModelProto:
    """A copy in which layers have fewer neurons.

    Args:
        model: with initializers for constants.
        layers: numbers of the neurons that stay, in order, and the weights that read them, shape (stay, outputs).

    """
    copied = edit.copy(model)
    graph = Graph(copied)
    for layer, (stay, weights) in layers.items():
        _cut(copied, graph, layer, stay, weights)
    edit.remove_unread(copied)
    return copied


class _Region:
    """What makes the tensor that a product reads, as far as it acts on each neuron by itself."""

    def __init__(self, graph: Graph, reader: NodeProto) -> None:
        self._graph, self._reader = graph, reader
        self._width = 0
        self._parts: dict[str, int] = {}
        self._nodes: dict[str, NodeProto] = {}
        self._products = 0

    def layer(self) -> FeedForward | None:
        """The layer; None if it has not the form of one."""
        reader, graph = self._reader, self._graph
        if len(reader.input) < 2 or graph.is_constant(reader.input[0]) or _matrix(graph, reader) is None:
            return None
        inner = reader.input[0]
        shape = graph.shape(inner)
        weights = np.asarray(graph.array(reader.input[1]))
        self._width = int(weights.shape[1] if _transposed(reader) else weights.shape[0])
        if shape is None or len(shape) < FEWEST_AXES or not self._visit(inner, 1) or not self._products:
            return None
        return FeedForward(reader.name, inner, self._width, self._parts, tuple(self._nodes)) if self._closed() else None

    def _visit(self, tensor: str, parts: int) -> bool:
        """Whether a computed tensor is so many times as wide as the inner one and made neuron by neuron."""
        shape, node = self._graph.shape(tensor), self._graph.producer(tensor)
        if node is None or shape is None or not shape or shape[-1] != parts * self._width:
            return False
        if node.name in self._nodes:
            return True
        self._nodes[node.name] = node
        if node.op_type in ("MatMul", "Gemm"):
            return self._product(node, parts)
        if node.op_type == "Split":
            return self._split(node, parts)
        if node.op_type in UNARY:
            return self._visit(node.input[0], parts)
        return node.op_type in BROADCAST and all(self._operand(name, parts) for name in node.input if name)

    def _operand(self, name: str, parts: int) -> bool:
        if not self._graph.is_constant(name):
            return self._visit(name, parts)
        array = self._graph.array(name)
        if array is None:
            return False
        return array.size == 1 or array.shape[-1] == 1 or self._wide(name, array, array.ndim - 1, parts)

    def _product(self, node: NodeProto, parts: int) -> bool:
        array = _matrix(self._graph, node)
        if array is None or not self._wide(node.input[1], array, 0 if _transposed(node) else 1, parts):
            return False
        self._products += 1
        return len(node.input) < 3 or not node.input[2] or self._operand(node.input[2], parts)

    def _split(self, node: NodeProto, parts: int) -> bool:
        """Halves of one tensor: the activation and its gate, of one product."""
        shape = self._graph.shape(node.output[0])
        axis = _attribute(node, "axis", 0)
        equal = all(self._graph.shape(name) == shape for name in node.output)
        if parts != 1 or shape is None or axis not in (-1, len(shape) - 1) or not equal:
            return False
        return self._visit(node.input[0], len(node.output))

    def _wide(self, name: str, array: Array, axis: int, parts: int) -> bool:
        self._parts[name] = parts
        return bool(array.shape[axis] == parts * self._width)

    def _closed(self) -> bool:
        """Whether nothing else reads what is made on the way."""
        inside = {*self._nodes, self._reader.name}
        outputs = {item.name for item in self._graph.model.graph.output}
        return all(
            not outputs.intersection(node.output) and {reader.name for reader in self._graph.consumers(node)} <= inside
            for node in self._nodes.values()
        )


def _cut(model: ModelProto, graph: Graph, layer: FeedForward, stay: Array, weights: Array) -> None:
    reader = graph.node(layer.name)
    named = {layer.name, *layer.nodes}
    _replace(model, reader, 1, weights.T if _transposed(reader) else weights, layer.name)
    for node in (node for node in model.graph.node if node.name in named and node.name != layer.name):
        if node.op_type == "Split":
            _cut_split(model, node, len(stay))
        for place, name in enumerate(node.input):
            if name not in layer.parts:
                continue
            kept = np.concatenate([stay + part * layer.neurons for part in range(layer.parts[name])])
            array = np.asarray(graph.array(name))
            axis = 0 if place == 1 and _transposed(node) else array.ndim - 1
            _replace(model, node, place, np.take(array, kept, axis=axis), layer.name)
    changed = {name for node in model.graph.node if node.name in layer.nodes for name in node.output}
    left = [item for item in model.graph.value_info if item.name not in changed]
    del model.graph.value_info[:]
    model.graph.value_info.extend(left)


def _cut_split(model: ModelProto, node: NodeProto, width: int) -> None:
    """Sizes of the halves, which stand in an attribute below opset 13."""
    sizes = [width] * len(node.output)
    for attribute in node.attribute:
        if attribute.name == "split":
            attribute.CopyFrom(helper.make_attribute("split", sizes))
    if len(node.input) > 1 and node.input[1]:
        _replace(model, node, 1, np.array(sizes, dtype=np.int64), node.name)


def _replace(model: ModelProto, node: NodeProto, place: int, values: Array, layer: str) -> None:
    """Another constant for an input of a node."""
    name = f"{node.input[place]}_of_{layer}"
    if all(item.name != name for item in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    node.input[place] = name


def _matrix(graph: Graph, node: NodeProto) -> Array | None:
    """The constant that a node multiplies by, where it is a plain product of two axes."""
    if len(node.input) < 2 or not graph.is_constant(node.input[1]) or _attribute(node, "transA", 0):
        return None
    if any(_attribute(node, name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return None
    array = graph.array(node.input[1])
    return array if array is not None and array.ndim == 2 and array.dtype == np.float32 else None


def _shared(graph: Graph) -> set[str]:
    """Matrices that several nodes read."""
    read = [node.input[1] for node in graph.of_type("MatMul", "Gemm") if len(node.input) > 1]
    return {name for name in read if read.count(name) > 1}


def _transposed(node: NodeProto) -> bool:
    return bool(_attribute(node, "transB", 0))


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


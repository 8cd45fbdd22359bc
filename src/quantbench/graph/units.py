"""Parts of a graph that can be taken away whole: neurons of feed-forward layers, heads of attentions.

A unit is a block of rows of the product that reads it, and the columns of the products that make it. Between them
every operator acts on each unit by itself, so that taking one changes no other. What lies there is found from the
reading product back, by the same rules as what is read at a position (``positions``), here along the axis of the units;
what has any other form is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from quantbench.graph import edit
from quantbench.graph.positions import Analysis, Shapes, rule_of
from quantbench.graph.view import Graph

Array = np.ndarray[Any, Any]
FEWEST_AXES = 3
"""Of a tensor that has positions: one without is a head's, which is computed once for a whole input."""
INFERRED = -1
"""What stands in the target of a Reshape for the axis that is as long as what is left."""


class Layout(NamedTuple):
    """How units lie along an axis: ``parts`` times all of them, each with so many values (``size``)."""

    axis: int
    size: int
    parts: int = 1


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a layer.

    Attributes:
        name: of the node that multiplies the tensor of the units.
        inner: that tensor, units along its last axis.
        count: how many there are.
        size: values of one unit: 1 of a neuron, the width of a head.
        constants: how units lie in the constants that make them, by node and place among its inputs.
        targets: places of the units' axis in the targets of Reshapes, by node.
        splits: nodes that split a tensor of several parts into equal ones.

    """

    name: str
    inner: str
    count: int
    size: int
    constants: Mapping[tuple[str, int], Layout]
    targets: Mapping[str, int]
    splits: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``ffn`` of neurons, ``heads`` of heads."""
        return "ffn" if self.size == 1 else "heads"

    def matrix(self, graph: Graph) -> Array:
        """Weights of the product that reads the units, shape (units × size, outputs)."""
        node = graph.node(self.name)
        array: Array = np.asarray(graph.array(node.input[1]))
        return array.T if _transposed(node) else array

    def multiplications(self, graph: Graph) -> float:
        """Of one unit at one position, in products with constant weights."""
        made = {graph.node(name).input[1] for name, place in self.constants if place == 1}
        sizes = [array.size for name in made if (array := np.asarray(graph.array(name))).ndim > 1]
        return (sum(sizes) + self.matrix(graph).size) / self.count

    def values(self, stay: Array, parts: int = 1) -> Array:
        """Numbers of the values of some units along an axis that holds so many parts."""
        blocks = (np.asarray(stay)[:, None] * self.size + np.arange(self.size)).reshape(-1)
        return np.concatenate([blocks + part * self.count * self.size for part in range(parts)])


def find(graph: Graph, shapes: Shapes) -> list[Units]:
    """The layers of a graph whose units can be taken, in its order; weights that several nodes share are left alone.

    Args:
        graph: with initializers for constants.
        shapes: of all tensors, see there.

    """
    found, at = [], Analysis(graph, shapes)
    shared = _shared(graph)
    for node in graph.of_type("MatMul", "Gemm"):
        if _is_product(graph, node) and node.input[1] not in shared and at.rank(node.input[0]) >= FEWEST_AXES:
            units = next(filter(None, (_Region(at, node, size).units() for size in _sizes(at, node))), None)
            if units is not None and not shared.intersection(graph.node(name).input[1] for name, _ in units.constants):
                found.append(units)
    return found


def cut(model: ModelProto, units: Units, stay: Array, weights: Array) -> ModelProto:
    """A copy in which a layer has fewer units.

    Args:
        model: with initializers for constants.
        units: of the layer.
        stay: numbers of those that stay, in order.
        weights: that read them, shape (stay × size, outputs).

    """
    copied = edit.copy(model)
    graph = Graph(copied)
    reader = graph.node(units.name)
    _replace(copied, reader, 1, weights.T if _transposed(reader) else weights, units.name)
    for (name, place), layout in units.constants.items():
        node = graph.node(name)
        array = np.asarray(graph.array(node.input[place]))
        kept = np.take(array, units.values(stay, layout.parts), axis=layout.axis)
        _replace(copied, node, place, kept, f"{units.name}_{layout.axis}")
    for name, place in units.targets.items():
        _infer(copied, graph, graph.node(name), place)
    for name in units.splits:
        _split(copied, graph.node(name), len(stay) * units.size)
    del copied.graph.value_info[:]
    edit.remove_unread(copied)
    return copied


def _sizes(at: Analysis, node: NodeProto) -> list[int]:
    """Sizes of units that a product may read: neurons, or heads where axes are merged just before."""
    before = at.graph.producer(node.input[0])
    if before is None or before.op_type != "Reshape" or at.rank(before.input[0]) < FEWEST_AXES + 1:
        return [1]
    return [1, at.sizes(before.input[0])[0][-1]]


class _Region:
    """What makes the tensor that a product reads, as far as it acts on each unit by itself."""

    def __init__(self, at: Analysis, reader: NodeProto, size: int) -> None:
        self._at, self._graph, self._reader, self._size = at, at.graph, reader, size
        self._count = at.sizes(reader.input[0])[0][-1] // size
        self._seen: dict[str, Layout] = {}
        self._constants: dict[tuple[str, int], Layout] = {}
        self._targets: dict[str, int] = {}
        self._splits: list[str] = []
        self._nodes: dict[str, NodeProto] = {}

    def units(self) -> Units | None:
        """The layer's; None if it has not the form of one."""
        inner = self._reader.input[0]
        start = Layout(self._at.rank(inner) - 1, self._size)
        if not self._visit(inner, start) or not self._made() or not self._closed():
            return None
        return Units(
            self._reader.name,
            inner,
            self._count,
            self._size,
            self._constants,
            self._targets,
            tuple(self._splits),
        )

    def _visit(self, tensor: str, layout: Layout) -> bool:
        """Whether a computed tensor holds units so, and is made unit by unit."""
        node, length = self._graph.producer(tensor), layout.parts * self._count * layout.size
        if node is None or any(size[layout.axis] != length for size in self._at.sizes(tensor)):
            return False
        if tensor in self._seen:
            return self._seen[tensor] == layout
        self._seen[tensor] = layout
        self._nodes[node.name] = node
        special = {"Reshape": self._reshape, "Split": self._split, "Slice": self._slice}.get(node.op_type)
        return special(node, layout) if special else self._plain(node, layout)

    def _plain(self, node: NodeProto, layout: Layout) -> bool:
        """An operator of which a rule says where in its inputs units lie."""
        rule = rule_of(node.op_type)
        axes = rule(self._at, node, layout.axis) if rule and len(node.output) == 1 else None
        if axes is None:
            return False
        places = [(place, axis) for place, axis in enumerate(axes) if axis is not None]
        return all(self._operand(node, place, layout._replace(axis=axis)) for place, axis in places)

    def _operand(self, node: NodeProto, place: int, layout: Layout) -> bool:
        name = node.input[place]
        if not self._graph.is_constant(name):
            return self._visit(name, layout)
        array = self._graph.array(name)
        self._constants[node.name, place] = layout
        return array is not None and array.shape[layout.axis] == layout.parts * self._count * layout.size

    def _reshape(self, node: NodeProto, layout: Layout) -> bool:
        """An axis of units that is split into units and their values, merged of these, or stays as it is."""
        before, after = self._at.sizes(node.input[0]), self._at.sizes(node.output[0])
        for axis in range(len(before[0])):
            for given in self._layouts(layout):
                if all(_leads(one, axis, given, other, layout) for one, other in zip(before, after, strict=True)):
                    self._targets[node.name] = layout.axis
                    target = _target(self._graph, node, len(after[0]))
                    known = bool(target) and (target[layout.axis] == INFERRED or INFERRED not in target)
                    return known and self._visit(node.input[0], given._replace(axis=axis))
        return False

    def _layouts(self, layout: Layout) -> list[Layout]:
        """How units may lie before a Reshape: as after it, with their values merged, or with these split off."""
        return [layout, *([layout._replace(size=self._size), layout._replace(size=1)] if self._size > 1 else [])]

    def _split(self, node: NodeProto, layout: Layout) -> bool:
        """Equal parts of one tensor, such as an activation and its gate, of one product."""
        axis = _attribute(node, "axis", 0) % self._at.rank(node.input[0])
        sizes = [self._at.sizes(name) for name in node.output]
        if layout.parts != 1 or axis != layout.axis or any(size != sizes[0] for size in sizes):
            return False
        self._splits += [node.name] if node.name not in self._splits else []
        return self._visit(node.input[0], layout._replace(parts=len(node.output)))

    def _slice(self, node: NodeProto, layout: Layout) -> bool:
        """One of equal parts, as exporters write a chunk: from a place that follows from how long the axis is."""
        axes = self._graph.array(node.input[3]) if len(node.input) > 3 else None
        rank = self._at.rank(node.input[0])
        if axes is None or [int(one) % rank for one in axes.reshape(-1)] != [layout.axis]:
            return self._plain(node, layout)
        lengths = [self._at.sizes(name)[0][layout.axis] for name in (node.input[0], node.output[0])]
        computed = not all(self._graph.is_constant(name) for name in node.input[1:3])
        if layout.parts != 1 or lengths[0] % lengths[1] or not computed:
            return False
        return self._visit(node.input[0], layout._replace(parts=lengths[0] // lengths[1]))

    def _made(self) -> bool:
        """Whether products with constants make the units."""
        return any(place == 1 and _is_product(self._graph, self._graph.node(name)) for name, place in self._constants)

    def _closed(self) -> bool:
        """Whether nothing else reads what is made on the way, but how long it is."""
        inside = {*self._nodes, self._reader.name}
        outputs = {item.name for item in self._graph.model.graph.output}
        return all(
            not outputs.intersection(node.output)
            and {reader.name for reader in self._graph.consumers(node) if reader.op_type != "Shape"} <= inside
            for node in self._nodes.values()
        )


def _leads(before: tuple[int, ...], axis: int, given: Layout, after: tuple[int, ...], found: Layout) -> bool:
    """Whether an axis before a Reshape holds, in the layout ``given``, what one after it holds as ``found``.

    All in front of it is the same; of units whose values have an axis of their own that follows.
    """
    if math.prod(before[:axis]) != math.prod(after[: found.axis]) or given.parts != found.parts:
        return False
    if given.size == found.size:
        return before[axis] == after[found.axis]
    merged, axes, place = (before, after, found.axis) if given.size > found.size else (after, before, axis)
    whole = axis if merged is before else found.axis
    return (
        len(axes) > place + 1
        and merged[whole] == axes[place] * axes[place + 1]
        and axes[place + 1] == max(given.size, found.size)
    )


def _target(graph: Graph, node: NodeProto, rank: int) -> list[int | None]:
    """The target of a Reshape, None for axes that are computed; nothing where it is not known how many there are."""
    array = graph.array(node.input[1])
    if array is not None:
        return [int(one) for one in array]
    maker = graph.producer(node.input[1])
    if maker is None or maker.op_type != "Concat" or len(maker.input) != rank:
        return []
    values = [graph.array(name) for name in maker.input]
    return [None if one is None else int(one.reshape(-1)[0]) for one in values]


def _infer(model: ModelProto, graph: Graph, node: NodeProto, place: int) -> None:
    """Make the units' axis of a Reshape's target the one that is inferred, as there are fewer units."""
    array, maker = graph.array(node.input[1]), graph.producer(node.input[1])
    if array is not None:
        target = array.copy()
        target[place] = INFERRED
        _replace(model, node, 1, target, node.name)
    elif maker is not None and graph.scalar(maker.input[place]) != INFERRED:
        _replace(model, maker, place, np.array([INFERRED], dtype=np.int64), maker.name)


def _split(model: ModelProto, node: NodeProto, width: int) -> None:
    """Sizes of equal parts, which stand in an attribute below opset 13."""
    sizes = [width] * len(node.output)
    for attribute in node.attribute:
        if attribute.name == "split":
            attribute.CopyFrom(helper.make_attribute("split", sizes))
    if len(node.input) > 1 and node.input[1]:
        _replace(model, node, 1, np.array(sizes, dtype=np.int64), node.name)


def _replace(model: ModelProto, node: NodeProto, place: int, values: Array, label: str) -> None:
    """Another constant for an input of a node."""
    name = f"{node.input[place]}_of_{label}"
    if all(item.name != name for item in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    node.input[place] = name


def _is_product(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is a plain product with a constant of two axes."""
    if node.op_type not in ("MatMul", "Gemm") or len(node.input) < 2:
        return False
    if not graph.is_constant(node.input[1]) or graph.is_constant(node.input[0]) or _attribute(node, "transA", 0):
        return False
    array = graph.array(node.input[1])
    plain = all(_attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta"))
    return plain and array is not None and array.ndim == 2 and array.dtype == np.float32


def _shared(graph: Graph) -> set[str]:
    """Matrices that several nodes read."""
    read = [node.input[1] for node in graph.of_type("MatMul", "Gemm") if len(node.input) > 1]
    return {name for name in read if read.count(name) > 1 and graph.is_constant(name)}


def _transposed(node: NodeProto) -> bool:
    return bool(_attribute(node, "transB", 0))


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)

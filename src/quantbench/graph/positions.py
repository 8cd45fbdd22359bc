"""Only what is read: a graph that computes a tensor at one position of an axis where nothing reads the others.

A classifier reads the first token of the last layer. Keys and values of that layer are needed of all tokens, its
queries, its attention's output and its feed-forward layer of that one alone. What is read of every tensor follows from
what reads it, from the outputs back (a backward data-flow analysis, as liveness is; Aho, Lam, Sethi and Ullman, 2006,
chapter 9); nodes then compute that. Nothing is approximated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from quantbench.graph import edit
from quantbench.graph.view import Graph

Shapes = Sequence[Mapping[str, tuple[int, ...]]]
"""Shapes of all tensors by name, in runs whose batches and lengths differ from each other and from everything else."""
UNARY = {
    *("Cast", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN"),
    *("LeakyRelu", "Log", "Neg", "Not", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt"),
    *("Abs", "Cos", "Sin", "Tanh", "Clip", "Mish", "Celu"),
}
"""Of a value alone; further inputs are bounds."""
BROADCAST = {
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul"),
    *("Or", "Pow", "Sub", "Sum", "Where", "Xor", "PRelu"),
}
REDUCING = {"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"}


class Position(NamedTuple):
    """One position of an axis: ``at`` is counted from the left, a negative one from the end."""

    axis: int
    at: int


ALL = "all"
Read = Position | str | None
"""What is read of a tensor: one position, ``ALL``, or nothing."""
Axes = list[int | None]
"""The axis of each input at which an output's axis is found; None where all of the input is needed."""
Rule = Callable[["Analysis", NodeProto, int], Axes | None]
"""From a node and an axis of its output to the axes of its inputs; None where one position cannot be computed alone."""


def narrowed(model: ModelProto, shapes: Shapes) -> ModelProto | None:
    """A copy that gives the same and computes what is read only; None where everything is.

    Args:
        model: with initializers for constants.
        shapes: see there.

    """
    found = Analysis(Graph(model), shapes)
    found.run()
    if not found.axes:
        return None
    copied = edit.copy(model)
    _Rewriting(copied, found).run()
    edit.remove_unread(copied)
    return copied


@dataclass
class Analysis:
    """What is read of every tensor, and at which axes of its inputs every narrowed node reads it."""

    graph: Graph
    shapes: Shapes
    read: dict[str, Read] = field(default_factory=dict)
    axes: dict[str, Axes] = field(default_factory=dict)

    def run(self) -> None:
        """Go through the graph from its outputs back."""
        for item in self.graph.model.graph.output:
            self.read[item.name] = ALL
        for node in reversed(self.graph.nodes):
            self._node(node)

    def _node(self, node: NodeProto) -> None:
        wanted = [read for name in node.output if (read := self.read.get(name)) is not None]
        if not wanted:
            return
        position = wanted[0]
        if isinstance(position, Position) and len(node.output) == 1:
            rule = rule_of(node.op_type)
            axes = rule(self, node, position.axis) if rule else None
            if axes is not None:
                self.axes[node.output[0]] = axes
                for name, axis in zip(node.input, axes, strict=True):
                    self._add(name, ALL if axis is None else Position(axis, position.at))
                return
        one = self.one_position(node)
        for place, name in enumerate(node.input):
            self._add(name, one if one is not None and place == 0 else ALL)

    def _add(self, name: str, read: Read) -> None:
        before = self.read.get(name)
        self.read[name] = read if before in (None, read) else ALL

    def one_position(self, node: NodeProto) -> Position | None:
        """What a node reads of its first input, where that is one position of an axis and no other."""
        if node.op_type != "Gather" or self.graph.is_constant(node.input[0]) or self.rank(node.input[0]) < 2:
            return None  # a vector is a shape, whose places are no positions
        index = self.graph.array(node.input[1])
        if index is None or index.size != 1:
            return None
        axis = _attribute(node, "axis", 0) % self.rank(node.input[0])
        if any(run[node.input[0]][axis] == 1 for run in self.shapes):
            return None
        return Position(axis, int(index.reshape(-1)[0]))

    def rank(self, name: str) -> int:
        """How many axes a tensor has."""
        return len(self.sizes(name)[0])

    def sizes(self, name: str) -> list[tuple[int, ...]]:
        """The shape of a tensor in every run."""
        array = self.graph.array(name) if self.graph.is_constant(name) else None
        return [run[name] if array is None else tuple(array.shape) for run in self.shapes]

    def broadcast(self, node: NodeProto, axis: int, places: Sequence[int]) -> Axes:
        """Axes of inputs that are broadcast against each other: those where an input is as long as the output."""
        rank = self.rank(node.output[0])
        found: Axes = []
        for place, name in enumerate(node.input):
            own = axis - rank + self.rank(name) if name and place in places else -1
            there = own >= 0 and all(size[own] != 1 for size in self.sizes(name))
            found.append(own if there else None)
        return found


def _unary(_: Analysis, node: NodeProto, axis: int) -> Axes:
    return [axis, *([None] * (len(node.input) - 1))]


def _broadcast(at: Analysis, node: NodeProto, axis: int) -> Axes:
    return at.broadcast(node, axis, range(len(node.input)))


def _product(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    rank = at.rank(node.output[0])
    if min(at.rank(name) for name in node.input) < 2:
        return None
    if axis == rank - 1:
        return [None, at.rank(node.input[1]) - 1]
    if axis == rank - 2:
        return [at.rank(node.input[0]) - 2, None]
    return at.broadcast(node, axis, (0, 1))


def _gemm(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    if axis != 0:
        return None
    rest = at.broadcast(node, 0, (2,))[2:]
    return [1 if _attribute(node, "transA", 0) else 0, None, *rest]


def _softmax(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    rank = at.rank(node.output[0])
    along = _attribute(node, "axis", -1) % rank
    return [axis] if axis < along else None


def _normalization(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    first = _attribute(node, "axis", -1) % at.rank(node.input[0])
    return [axis, *([None] * (len(node.input) - 1))] if axis < first else None


def _reduction(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    axes = _axes(at, node)
    rank = at.rank(node.input[0])
    if axes is None:
        return None
    reduced = {one % rank for one in axes}
    keeps = bool(_attribute(node, "keepdims", 1))
    left = [one for one in range(rank) if keeps or one not in reduced]
    return [left[axis], *([None] * (len(node.input) - 1))] if left[axis] not in reduced else None


def _transpose(at: Analysis, node: NodeProto, axis: int) -> Axes:
    rank = at.rank(node.input[0])
    return [list(_attribute(node, "perm", list(reversed(range(rank)))))[axis]]


def _unsqueeze(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    axes, rank = _axes(at, node), at.rank(node.output[0])
    if axes is None or axis in (added := {one % rank for one in axes}):
        return None
    return [axis - sum(one < axis for one in added), *([None] * (len(node.input) - 1))]


def _squeeze(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    axes, rank = _axes(at, node), at.rank(node.input[0])
    if axes is None:
        return None
    left = [one for one in range(rank) if one not in {other % rank for other in axes}]
    return [left[axis], *([None] * (len(node.input) - 1))]


def _concat(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    along = _attribute(node, "axis", 0) % at.rank(node.output[0])
    return None if along == axis else [axis] * len(node.input)


def _slice(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    axes = at.graph.array(node.input[3]) if len(node.input) > 3 else None
    if axes is None or axis in {int(one) % at.rank(node.input[0]) for one in axes.reshape(-1)}:
        return None
    return [axis, *([None] * (len(node.input) - 1))]


def _reshape(at: Analysis, node: NodeProto, axis: int) -> Axes | None:
    """An axis that stays one, with as many values before it: in all runs, so by meaning and not by chance."""
    before, after = at.sizes(node.input[0]), at.sizes(node.output[0])
    for own in range(len(before[0])):
        kept = all(
            one[own] == other[axis] and math.prod(one[:own]) == math.prod(other[:axis])
            for one, other in zip(before, after, strict=True)
        )
        if kept and all(size[own] != 1 for size in before):
            return [own, None]
    return None


RULES: dict[str, Rule] = {
    "MatMul": _product,
    "Gemm": _gemm,
    "Softmax": _softmax,
    "LayerNormalization": _normalization,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Concat": _concat,
    "Slice": _slice,
    "Reshape": _reshape,
}
"""How positions of an output's axis are found in the inputs, by operator (ONNX, Operators.md)."""


def rule_of(kind: str) -> Rule | None:
    """The rule of an operator; None where there is none."""
    if kind in UNARY:
        return _unary
    if kind in BROADCAST:
        return _broadcast
    return _reduction if kind in REDUCING else RULES.get(kind)


class _Rewriting:
    """Nodes that compute the positions that are read."""

    def __init__(self, model: ModelProto, found: Analysis) -> None:
        self._model, self._found = model, found
        self._nodes: list[NodeProto] = []
        self._taken: dict[tuple[str, Position], str] = {}

    def run(self) -> None:
        for node in self._model.graph.node:
            self._node(node)
        edit.set_nodes(self._model, self._nodes)
        narrow = {name for name, read in self._found.read.items() if isinstance(read, Position)}
        kept = [item for item in self._model.graph.value_info if item.name not in narrow]
        del self._model.graph.value_info[:]
        self._model.graph.value_info.extend(kept)

    def _node(self, node: NodeProto) -> None:
        read = self._found.read.get(node.output[0]) if len(node.output) == 1 else ALL
        if not isinstance(read, Position):
            one = self._found.one_position(node)
            if one is not None and self._found.read.get(node.input[0]) == one:
                shape = self._found.graph.array(node.input[1]).shape
                node.input[1] = self._constant(np.zeros(shape, dtype=np.int64))  # the only one that is left
            self._nodes.append(node)
            return
        axes = self._found.axes.get(node.output[0])
        if axes is None:
            self._whole(node, read)
            return
        for place, axis in enumerate(axes):
            if axis is not None:
                node.input[place] = self._taken_at(node.input[place], Position(axis, read.at))
        if node.op_type == "Reshape":
            node.input[1] = self._with_one(node.input[1], read.axis, self._found.rank(node.output[0]))
        self._nodes.append(node)

    def _whole(self, node: NodeProto, read: Position) -> None:
        """A node that can only compute everything, of which the position is taken."""
        name = node.output[0]
        node.output[0] = f"{name}_whole"
        self._nodes.append(node)
        self._nodes.append(self._gather(node.output[0], read, name))

    def _taken_at(self, name: str, position: Position) -> str:
        """The tensor at a position: itself where it is computed there only."""
        if self._found.read.get(name) == position:
            return name
        key = (name, position)
        if key not in self._taken:
            self._taken[key] = f"{name}_at_{position.axis}_{position.at}".replace("-", "end")
            self._nodes.append(self._gather(name, position, self._taken[key]))
        return self._taken[key]

    def _gather(self, name: str, position: Position, output: str) -> NodeProto:
        index = self._constant(np.array([position.at], dtype=np.int64))
        return helper.make_node("Gather", [name, index], [output], name=f"{output}_read", axis=position.axis)

    def _with_one(self, shape: str, axis: int, rank: int) -> str:
        """A shape whose axis is 1."""
        chosen = self._constant(np.arange(rank) == axis)
        one = self._constant(np.array(1, dtype=np.int64))
        name = f"{shape}_with_{axis}"
        if all(name not in node.output for node in self._nodes):
            self._nodes.append(helper.make_node("Where", [chosen, one, shape], [name], name=f"{name}_read"))
        return name

    def _constant(self, values: np.ndarray[Any, Any]) -> str:
        name = f"read_{values.dtype}_{'x'.join(map(str, values.shape))}_{'_'.join(map(str, values.reshape(-1)))}"
        if all(item.name != name for item in self._model.graph.initializer):
            self._model.graph.initializer.append(numpy_helper.from_array(values, name))
        return name


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _axes(at: Analysis, node: NodeProto) -> list[int] | None:
    """Axes that a node names, as an attribute or as a constant input; None where it names none, or computes them."""
    listed = _attribute(node, "axes", None)
    if listed is not None:
        return list(listed)
    values = at.graph.array(node.input[1]) if len(node.input) > 1 else None
    return None if values is None else [int(one) for one in values.reshape(-1)]

"""Embedding tables as small whole numbers, every row with a scale of its own, in standard operators of every opset.

A row is looked up as whole numbers and multiplied by its scale, which is looked up beside it, so that the table is
never there in floats. Rows are embeddings of single tokens and differ in size: a scale per table, as of quantizers that
count Gather among the operators, leaves small rows few numbers. Scales per row, and the search for those of least error
that four bits need: Guan et al., 2019, "Post-Training 4-bit Quantization on Embedding Tables".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from quantbench.graph import edit
from quantbench.graph.view import Graph

Array = np.ndarray[Any, Any]
BITS = {"int8": 8, "int4": 4}
LEAST_BYTES = 65_536
"""Of a float table below which nothing is worth to be won."""
SHRINKS = np.linspace(0.5, 1.0, 26)
"""Shares of a row's largest value that its largest number may stand for, of four bits."""
SMALLEST = 1e-30
"""Scale of rows of nothing, and of what is next to it, for which float32 has no quotients."""
ROWS = 4096
"""That are rounded at a time: a bound on memory."""


def tables_of(graph: Graph) -> list[str]:
    """Names of the float tables that are only looked up in, by what is computed, and are large enough.

    A table that something else reads as well, such as a product with its words, is left as it is.
    """
    names = dict.fromkeys(node.input[0] for node in graph.of_type("Gather"))
    return [
        name
        for name in names
        if _is_large(graph, name) and all(_looks_up(graph, name, node) for node in _readers(graph, name))
    ]


def float_bytes(graph: Graph) -> int:
    """Bytes of these tables in float32."""
    return sum(int(graph.array(name).nbytes) for name in tables_of(graph))


def with_small_tables(model: onnx.ModelProto, number_type: str) -> onnx.ModelProto | None:
    """A copy whose tables are of ``int8`` or ``int4``, two to a byte; None where there is no such table."""
    graph = Graph(model)
    names = tables_of(graph)
    if not names:
        return None
    small = edit.copy(model)
    writing = _Writing(small, BITS[number_type])
    for name in names:
        writing.table(name, graph.array(name))
    writing.finish(set(names))
    return small


def rounded(table: Array, bits: int) -> tuple[Array, Array]:
    """Whole numbers and scales of rows, shapes (rows, width) int8 and (rows, 1) float32; their product is the table.

    Numbers reach from ``-(2 ** (bits - 1) - 1)`` to the same above.
    """
    largest = 2 ** (bits - 1) - 1
    parts = [_rounded(table[start : start + ROWS], largest, bits) for start in range(0, len(table), ROWS)]
    numbers, scales = zip(*parts, strict=True)
    return np.concatenate(numbers), np.concatenate(scales)


def _rounded(rows: Array, largest: int, bits: int) -> tuple[Array, Array]:
    reach = np.abs(rows).max(axis=1, keepdims=True)
    best = np.maximum(reach / largest, SMALLEST).astype(np.float32)
    if bits < 8:
        tried = [best * np.float32(share) for share in SHRINKS]
        errors = [np.square(_numbers(rows, scale, largest) * scale - rows).sum(axis=1) for scale in tried]
        best = np.take_along_axis(np.stack(tried), np.argmin(errors, axis=0)[None, :, None], axis=0)[0]
    return _numbers(rows, best, largest).astype(np.int8), best


def _numbers(rows: Array, scale: Array, largest: int) -> Array:
    return np.clip(np.rint(rows / scale), -largest, largest)


def _readers(graph: Graph, name: str) -> Iterator[NodeProto]:
    return (node for node in graph.nodes if name in node.input)


def _looks_up(graph: Graph, name: str, node: NodeProto) -> bool:
    axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
    alone = node.op_type == "Gather" and axis == 0 and name not in list(node.input)[1:]
    return alone and not graph.is_constant(node.input[1])


def _is_large(graph: Graph, name: str) -> bool:
    if not graph.is_constant(name) or not graph.is_float(name) or graph.producer(name) is not None:
        return False
    table = graph.array(name)
    return (
        table.ndim == 2 and table.nbytes >= LEAST_BYTES and name not in {item.name for item in graph.model.graph.output}
    )


class _Writing:
    """The nodes of a graph with small tables."""

    def __init__(self, model: onnx.ModelProto, bits: int) -> None:
        self._model, self._bits = model, bits
        self._before: dict[str, list[NodeProto]] = {}

    def table(self, name: str, values: Array) -> None:
        """Put a table's numbers and scales beside it, and look-ups in them in place of those in it."""
        numbers, scales = rounded(values, self._bits)
        halves = self._bits < 8 and values.shape[1] % 2 == 0
        self._add(f"{name}_numbers", _packed(numbers) if halves else numbers)
        self._add(f"{name}_scales", scales)
        for node in self._model.graph.node:
            if name in node.input:
                self._before[node.output[0]] = self._look_up(name, node, halves)

    def finish(self, replaced: set[str]) -> None:
        """Replace the look-ups, and remove the float tables."""
        graph = self._model.graph
        nodes = [new for node in graph.node for new in self._before.get(node.output[0], [node])]
        edit.set_nodes(self._model, nodes)
        for index in reversed([place for place, item in enumerate(graph.initializer) if item.name in replaced]):
            del graph.initializer[index]

    def _add(self, name: str, values: Array) -> str:
        self._model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _look_up(self, name: str, node: NodeProto, halves: bool) -> list[NodeProto]:
        """Nodes that give what a look-up gave, under its name."""
        begin, places = node.output[0], node.input[1]
        look_up = NodeProto()
        look_up.CopyFrom(node)
        look_up.input[0], look_up.output[0] = f"{name}_numbers", f"{begin}_numbers"
        cast = helper.make_node(
            "Cast", [f"{begin}_numbers"], [f"{begin}_floats"], f"{begin}_cast", to=TensorProto.FLOAT
        )
        unpacked, floats = self._unpacked(begin) if halves else ([], f"{begin}_floats")
        scales = helper.make_node("Gather", [f"{name}_scales", places], [f"{begin}_scales"], f"{begin}_scale", axis=0)
        product = helper.make_node("Mul", [floats, f"{begin}_scales"], [begin], f"{begin}_scaled")
        return [look_up, cast, *unpacked, scales, product]

    def _unpacked(self, begin: str) -> tuple[list[NodeProto], str]:
        """Nodes that take bytes apart: a byte ``16 * (a + 8) + (b + 8)`` into ``a`` and ``b``, all a before all b."""
        if all(item.name != "tables_16" for item in self._model.graph.initializer):
            for number in (16, 8):
                self._add(f"tables_{number}", np.array(number, dtype=np.float32))
        steps = (
            ("Div", (f"{begin}_floats", "tables_16"), "sixteenths"),
            ("Floor", (f"{begin}_sixteenths",), "high"),
            ("Mul", (f"{begin}_high", "tables_16"), "high_part"),
            ("Sub", (f"{begin}_floats", f"{begin}_high_part"), "low"),
        )
        nodes = [
            helper.make_node(kind, read, [f"{begin}_{gives}"], f"{begin}_{gives}_made") for kind, read, gives in steps
        ]
        both = helper.make_node(
            "Concat", [f"{begin}_high", f"{begin}_low"], [f"{begin}_both"], f"{begin}_joined", axis=-1
        )
        less = helper.make_node("Sub", [f"{begin}_both", "tables_8"], [f"{begin}_signed"], f"{begin}_signed_made")
        return [*nodes, both, less], f"{begin}_signed"


def _packed(numbers: Array) -> Array:
    """Numbers of four bits, two to a byte: those of the first half of a row above those of the second."""
    high, low = np.split((numbers + 8).astype(np.uint8), 2, axis=1)
    return high * np.uint8(16) + low

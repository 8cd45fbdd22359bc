"""The products of a graph that can be computed in int8 one by one: MatMul and Gemm with constant weights.

Products that read the same tensor form a group: what they read is quantized once, and they can be merged into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from quantbench.errors import RunFailed
from quantbench.graph.view import Graph
from quantbench.schema.settings import Mode, Placement


@dataclass(frozen=True)
class Product:
    """A product with constant weights.

    Attributes:
        name: of the node.
        source: the tensor that is multiplied.
        weight: name of the constant, as the node reads it.
        transposed: whether the constant has shape (outputs, inputs), as in Gemm with ``transB``.

    """

    name: str
    source: str
    weight: str
    transposed: bool

    def matrix(self, graph: Graph) -> np.ndarray[Any, Any]:
        """The weights, shape (inputs, outputs)."""
        array = np.asarray(graph.array(self.weight))
        return array.T if self.transposed else array


def find_products(graph: Graph) -> list[Product]:
    """All products of a graph with constant weights, in its order."""
    found = []
    for node in graph.of_type("MatMul", "Gemm"):
        if len(node.input) < 2 or graph.is_constant(node.input[0]) or not graph.is_constant(node.input[1]):
            continue
        array = graph.array(node.input[1])
        if array is None or array.ndim != 2 or array.dtype != np.float32 or not _plain(node):
            continue
        found.append(Product(node.name, node.input[0], node.input[1], bool(_attribute(node, "transB", 0))))
    return found


def grouped(products: Sequence[Product]) -> dict[str, list[Product]]:
    """Groups of products by the tensor that they read, in the graph's order."""
    found: dict[str, list[Product]] = {}
    for product in products:
        found.setdefault(product.source, []).append(product)
    return found


def modes_of(products: Sequence[Product], placement: Placement) -> dict[str, Mode]:
    """The mode of every product, by node name.

    Raises:
        RunFailed: if a glob of the placement matches no product.

    """
    for pattern in placement.matmuls:
        if not any(fnmatchcase(product.name, pattern) for product in products):
            names = ", ".join(product.name for product in products[:3])
            raise RunFailed(
                f"placement.matmuls: {pattern!r} matches no product with constant weights; they are named {names}, …"
            )
    return {product.name: _mode(product.name, placement.matmuls, placement.default) for product in products}


def _mode(name: str, patterns: Mapping[str, Mode], default: Mode) -> Mode:
    return next((mode for pattern, mode in reversed(list(patterns.items())) if fnmatchcase(name, pattern)), default)


def _plain(node: NodeProto) -> bool:
    """Whether a Gemm is a product plus bias: nothing scaled, the first factor not transposed."""
    return all(_attribute(node, name, usual) == usual for name, usual in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)))


def _attribute(node: NodeProto, name: str, default: float) -> float:
    for attribute in node.attribute:
        if attribute.name == name:
            return float(onnx.helper.get_attribute_value(attribute))
    return default

"""A float ONNX graph that torch executes, whose weights can be trained and whose products can read rounded values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto

from quantbench.errors import RunFailed
from quantbench.graph.view import Graph
from quantbench.quantize.mixed.products import find_products
from quantbench.quantize.training.operators import OPERATORS

Tensors = Mapping[str, Any]
Round = Callable[[Any], Any]
"""From a tensor to the same rounded, through which gradients go as if it were not."""
BEHIND = {"Add": ("MatMul", "Mul"), "Mul": ("Div", "Mul")}
"""Operators whose constants are biases, or weights of normalization in several nodes, behind which nodes they are."""
WEIGHED = ("Add", "Gemm", "LayerNormalization", "MatMul", "Mul")
"""Operators that read weights."""


class TrainedGraph:
    """The nodes of a graph, in their order, with constants as tensors.

    Attributes:
        weights: what is trained, by initializer: of products, their biases, and of normalization. Tables that are
            looked up in, positions and frequencies stay as they are.

    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Take a graph, whose weights are copied.

        Raises:
            RunFailed: if an operator is not known.

        """
        graph = Graph(model)
        unknown = sorted({node.op_type for node in graph.nodes if node.op_type not in OPERATORS or node.domain})
        if unknown:
            raise RunFailed(f"aware_training: there is no way back through {', '.join(unknown)}; set it to false")
        self._nodes = [(node, _options(node, _opset(model))) for node in graph.nodes]
        self._inputs = {item.name for item in model.graph.input}
        self._last = self._last_reads([item.name for item in model.graph.output])
        constants = {item.name: torch.from_numpy(np.array(graph.array(item.name))) for item in model.graph.initializer}
        trained = _trained(graph)
        self.weights = {name: value.requires_grad_() for name, value in constants.items() if name in trained}
        self._constants = {name: value for name, value in constants.items() if name not in trained}

    def run(self, inputs: Tensors, wanted: Collection[str], rounding: Mapping[str, tuple[Round, Round]]) -> Tensors:
        """The tensors that are wanted, by name.

        Args:
            inputs: by name; those that the graph does not have are passed over.
            wanted: names of tensors.
            rounding: of products by name: of what they read, and of their weights.

        """
        there = {**self._constants, **self.weights, **{name: inputs[name] for name in self._inputs if name in inputs}}
        left = set(wanted)
        for place, (node, options) in enumerate(self._nodes):
            given = [there[name] if name else None for name in node.input]
            if node.name in rounding:
                given[:2] = [work(value) for work, value in zip(rounding[node.name], given, strict=False)]
            made = OPERATORS[node.op_type](given, options)
            there.update(zip(node.output, made if isinstance(made, tuple) else (made,), strict=False))
            for name in self._last.get(place, ()):
                if name not in left:
                    there.pop(name, None)
        return {name: there[name] for name in wanted}

    def _last_reads(self, outputs: Collection[str]) -> dict[int, list[str]]:
        """Names of tensors by the place of the node that reads them last, after which they are let go."""
        last = {name: place for place, (node, _) in enumerate(self._nodes) for name in node.input}
        made = {name for node, _ in self._nodes for name in node.output}
        found: dict[int, list[str]] = {}
        for name, place in last.items():
            if name in made and name not in outputs:
                found.setdefault(place, []).append(name)
        return found


def _trained(graph: Graph) -> set[str]:
    """Names of the weights: of products, their biases, and of normalization."""
    found = {product.weight for product in find_products(graph)}
    for node in graph.of_type("Gemm", "LayerNormalization"):
        found.update(node.input[1:] if node.op_type == "LayerNormalization" else node.input[2:])
    for kind, makers in BEHIND.items():
        for node in graph.of_type(kind):
            for one, other in (node.input, reversed(node.input)):
                maker = graph.producer(other)
                if graph.is_constant(one) and maker is not None and maker.op_type in makers:
                    found.add(one)
    learned = {item.name for item in graph.model.graph.initializer if len(item.dims) in (1, 2)}
    return {
        name for name in found & learned if graph.is_float(name) and graph.array(name).size > 1 and _alone(graph, name)
    }


def _alone(graph: Graph, name: str) -> bool:
    """Whether a float constant is read as a weight only, and not looked up in."""
    return graph.is_float(name) and all(node.op_type in WEIGHED for node in graph.nodes if name in node.input)


def _options(node: NodeProto, opset: int) -> dict[str, Any]:
    found = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    tensors = {name: value for name, value in found.items() if isinstance(value, onnx.TensorProto)}
    made = {name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(value))) for name, value in tensors.items()}
    return {**found, **made, "opset": opset, "outputs": len(node.output)}


def _opset(model: onnx.ModelProto) -> int:
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))

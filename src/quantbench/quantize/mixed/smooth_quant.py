"""SmoothQuant: outlying channels of an activation made smaller, and the weights that they meet larger.

As in Xiao et al. 2023, equation 4: channel j of the activation is divided by
``max|x_j| ** alpha / max|w_j| ** (1 - alpha)`` and the weights' row j multiplied by it. The division is free where the
activation comes out of a layer normalization: its weight and bias are divided. Whoever else reads the activation (the
residual connection does) gets it multiplied back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from quantbench.graph.view import Graph

LEAST = 1e-5
"""Smallest factor; channels that are always zero would have none."""


@dataclass(frozen=True)
class Affine:
    """Where a normalized tensor gets its weight and bias: (node, place of the constant among its inputs) of each."""

    weight: tuple[NodeProto, int]
    bias: tuple[NodeProto, int]


def affine_of(graph: Graph, tensor: str) -> Affine | None:
    """The weight and bias that make a tensor, as one LayerNormalization or as Mul and Add; None for other tensors."""
    node = graph.producer(tensor)
    if node is None or tensor in {item.name for item in graph.model.graph.output}:
        return None
    if node.op_type == "LayerNormalization" and len(node.input) == 3:
        return Affine((node, 1), (node, 2)) if all(map(graph.is_constant, node.input[1:])) else None
    if node.op_type != "Add":
        return None
    bias = [index for index, name in enumerate(node.input) if graph.is_constant(name)]
    product = graph.producer(node.input[1 - bias[0]]) if len(bias) == 1 else None
    if product is None or product.op_type != "Mul" or len(graph.consumers(product)) != 1:
        return None
    weight = [index for index, name in enumerate(product.input) if graph.is_constant(name)]
    if len(weight) != 1 or not _is_normalized(graph, product.input[1 - weight[0]]):
        return None
    return Affine((product, weight[0]), (node, bias[0]))


def _is_normalized(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is something divided by a root, as the last step of a decomposed layer normalization."""
    node = graph.producer(tensor)
    root = graph.producer(node.input[1]) if node is not None and node.op_type == "Div" else None
    return root is not None and root.op_type == "Sqrt"


def factors(
    lows: np.ndarray[Any, Any], highs: np.ndarray[Any, Any], matrix: np.ndarray[Any, Any], strength: float
) -> np.ndarray[Any, Any]:
    """What each channel is divided by, shape (channels,).

    Args:
        lows: smallest value of each channel.
        highs: largest value of each channel.
        matrix: weights that read the channels, shape (channels, outputs).
        strength: alpha; 0.5 shares the difficulty evenly.

    """
    activation = np.maximum(np.abs(lows), np.abs(highs))
    weight = np.abs(matrix).max(axis=1)
    usable = (activation > LEAST) & (weight > LEAST)
    ratio = np.where(usable, activation, 1.0) ** strength / np.where(usable, weight, 1.0) ** (1 - strength)
    return np.where(usable, np.maximum(ratio, LEAST), 1.0).astype(np.float32)


def migrate(
    model: onnx.ModelProto, graph: Graph, affine: Affine, tensor: str, scale: np.ndarray[Any, Any], keep: set[str]
) -> NodeProto | None:
    """Divide a tensor's channels in the graph, in place; ``keep`` are the nodes whose weights make up for it.

    Returns:
        The node that multiplies back for all other readers, which read it from now on; None where there are none.
        It belongs behind the maker of the tensor.

    """
    for node, place in (affine.weight, affine.bias):
        array = np.asarray(graph.array(node.input[place]), dtype=np.float32) / scale
        name = f"{node.input[place]}/smoothed/{tensor}"
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        node.input[place] = name
    maker = graph.producer(tensor)
    assert maker is not None, "a normalized tensor is made by a node"
    others = [node for node in graph.consumers(maker) if node.name not in keep]
    if not others:
        return None
    model.graph.initializer.append(numpy_helper.from_array(scale, f"{tensor}/factors"))
    for node in others:
        for index, name in enumerate(node.input):
            if name == tensor:
                node.input[index] = f"{tensor}/restored"
    return helper.make_node("Mul", [tensor, f"{tensor}/factors"], [f"{tensor}/restored"], name=f"{tensor}/restore")

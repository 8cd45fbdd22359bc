"""The nodes of an int8 product with constant weights, in the forms that runtimes fuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from quantbench.quantize.mixed.fuse_attention import DOMAIN


@dataclass(frozen=True)
class NewProduct:
    """A product to be written in int8, with its bias.

    Attributes:
        name: of the new product.
        key: of its weights: products of equal keys share them.
        matrix: float weights, shape (inputs, outputs).
        bias: shape (outputs,); None if there is none.
        replaced: names of the nodes that it stands for.
        output: the tensor that it makes.
        place: name of the node behind which it stands.

    """

    name: str
    key: str
    matrix: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any] | None
    replaced: list[str]
    output: str
    place: str


Weight = tuple[str, str, str]
"""Names of a weight's numbers, scales and zero points."""


def static_nodes(name: str, source: str, weight: Weight, result: str, per_channel: bool) -> list[NodeProto]:
    """A float product of dequantized operands, which runtimes fuse into an integer one."""
    axis = {"axis": 1} if per_channel else {}
    wide = f"{name}/weight"
    return [
        helper.make_node("DequantizeLinear", list(weight), [wide], name=f"{name}/dequantize", **axis),
        helper.make_node("MatMul", [f"{source}/dequantized", wide], [result], name=name),
    ]


def dynamic_nodes(name: str, source: str, weight: Weight, result: str) -> list[NodeProto]:
    """Integer product, and its scaling as ONNX Runtime's fusions look for it: by the product of both scales."""
    values, scale, zero = weight
    operands = [f"{source}/dynamic/quantized", values, f"{source}/dynamic/zero_point", zero]
    return [
        helper.make_node("MatMulInteger", operands, [f"{name}/integer"], name=name),
        helper.make_node("Cast", [f"{name}/integer"], [f"{name}/cast"], name=f"{name}/to_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{source}/dynamic/scale", scale], [f"{name}/scale"], name=f"{name}/scales"),
        helper.make_node("Mul", [f"{name}/cast", f"{name}/scale"], [result], name=f"{name}/scaled"),
    ]


def own_node(product: NewProduct, source: str, weight: Weight, bias: str | None) -> NodeProto:
    """ONNX Runtime's integer product with float results, which adds the bias too."""
    values, scale, zero = weight
    inputs = [f"{source}/quantized", values, f"{source}/scale", scale, f"{source}/zero_point", zero]
    return helper.make_node(
        "MatMulIntegerToFloat",
        [*inputs, *([bias] if bias else [])],
        [product.output],
        name=product.name,
        domain=DOMAIN,
    )

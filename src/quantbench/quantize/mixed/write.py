"""An int8 graph of our own placement: every product with constant weights in float, dynamic or static int8.

Quantization stands on single edges: a product reads rounded values, whatever else reads the same tensor reads it as it
was made. Activations are unsigned and weights signed 8-bit numbers, one scale per output where asked for, which is what
the fast kernels of VNNI and AMX take. Static products are written as QuantizeLinear, DequantizeLinear and MatMul,
dynamic ones as DynamicQuantizeLinear and MatMulInteger: standard operators, in the forms that ONNX Runtime fuses.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from quantbench.graph import external
from quantbench.graph.edit import remove_unread, set_nodes
from quantbench.graph.view import Graph
from quantbench.quantize.calibration.activations import Statistics
from quantbench.quantize.mixed import fuse_attention, int8, keep_sums, smooth_quant
from quantbench.quantize.mixed.nodes import NewProduct, dynamic_nodes, own_node, static_nodes
from quantbench.quantize.mixed.products import Product, find_products, grouped, modes_of
from quantbench.schema.settings import Mode, Recipe
from quantbench.system import onnx_files

SPLIT_SIZES_ARE_INPUT = 13
"""Opset since which Split takes its sizes as an input (ONNX operator specification)."""


def write_mixed(
    float_model: Path,
    settings: Recipe,
    weight_type: str,
    exclude: Collection[str],
    statistics: Statistics,
    path: Path,
) -> dict[str, Mode]:
    """Write an int8 version of a float model with the settings' placement.

    Args:
        float_model: float ONNX file.
        settings: placement, calibration method and granularity.
        weight_type: ``int8``, or ``uint8`` for CPUs without VNNI.
        exclude: names of nodes that stay in float whatever the placement says.
        statistics: of the tensors that static or smoothed products read.
        path: the file to write.

    Returns:
        The mode of every product with constant weights, by node name.

    Raises:
        RunFailed: if a glob of the placement matches nothing.

    """
    model = external.read(float_model)
    if settings.placement.operators == "onnxruntime":
        fuse_attention.fuse(model)
        keep_sums.keep_apart(model)
    found = find_products(Graph(model))
    modes = modes_of(found, settings.placement)
    modes |= {name: "float" for name in modes if name in set(exclude)}
    rewrite = _Rewrite(model, settings, weight_type, statistics)
    for source, members in grouped(found).items():
        quantized = {mode: [p for p in members if modes[p.name] == mode] for mode in ("dynamic", "static")}
        rewrite.group(source, quantized)
    rewrite.finish()
    onnx_files.write(model, path)
    return modes


@dataclass(frozen=True)
class _Source:
    """The tensor that a group reads.

    Attributes:
        name: of the tensor.
        lows: smallest value by channel; None where its statistics are not known, which static products need.
        highs: largest value by channel, likewise.
        factors: what its channels were divided by (SmoothQuant); None where they are as they were.

    """

    name: str
    lows: np.ndarray[Any, Any] | None = None
    highs: np.ndarray[Any, Any] | None = None
    factors: np.ndarray[Any, Any] | None = None


@dataclass
class _Rewrite:
    """Replaces products in a model, in place: new nodes stand where the first product of their group stood."""

    model: onnx.ModelProto
    settings: Recipe
    weight_type: str
    statistics: Statistics
    _before: dict[str, list[NodeProto]] = field(default_factory=dict)
    _behind: dict[str, list[NodeProto]] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    _constants: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.graph = Graph(self.model)
        self._opset = next(item.version for item in self.model.opset_import if item.domain in ("", "ai.onnx"))

    def group(self, source: str, by_mode: dict[str, list[Product]]) -> None:
        """Quantize the products of one group."""
        every = [product for members in by_mode.values() for product in members]
        if not every:
            return
        read = self._smooth(source, every)
        for mode, members in by_mode.items():
            if not members:
                continue
            first = members[0].name
            if mode == "static":
                self._static_source(read, first)
            else:
                self._dynamic_source(source, first)
            products = [self._new(product, read) for product in members]
            if self.settings.placement.merge and len(products) > 1:
                products = self._merged(products)
            for product in products:
                self._write(product, source, mode)

    def finish(self) -> None:
        """Put the nodes in their places."""
        nodes = []
        for node in self.model.graph.node:
            nodes += self._before.get(node.name, [])
            if node.name not in self._gone:
                nodes.append(node)
            nodes += self._behind.get(node.name, [])
        set_nodes(self.model, nodes)
        fuse_attention.use_own_operators(self.model)
        remove_unread(self.model)

    def _smooth(self, source: str, members: Sequence[Product]) -> _Source:
        """Divide the source's channels where the placement asks for SmoothQuant and a normalization makes it."""
        statistics = self.statistics.get(source)
        if statistics is None:
            return _Source(source)
        strength = self.settings.placement.smooth_quant
        affine = smooth_quant.affine_of(self.graph, source) if strength else None
        if affine is None:
            return _Source(source, statistics.lows, statistics.highs)
        matrix = np.concatenate([product.matrix(self.graph) for product in members], axis=1)
        factors = smooth_quant.factors(statistics.lows, statistics.highs, matrix, strength)
        names = {product.name for product in members}
        restore = smooth_quant.migrate(self.model, self.graph, affine, source, factors, names)
        if restore is not None:
            self._behind.setdefault(affine.bias[0].name, []).append(restore)
        return _Source(source, statistics.lows / factors, statistics.highs / factors, factors)

    def _static_source(self, read: _Source, first: str) -> None:
        """Round the source once, before the first product that reads it."""
        source, calibration = read.name, self.settings.calibration
        if calibration.method == "minmax":
            assert read.lows is not None and read.highs is not None, "what static products read was observed"
            low, high = float(read.lows.min()), float(read.highs.max())
        else:
            low, high = self.statistics[source].range(calibration)
        scale, zero = int8.activation(low, high)
        names = self._constant(f"{source}/scale", scale), self._constant(f"{source}/zero_point", zero)
        self._before.setdefault(first, []).extend(
            [
                helper.make_node(
                    "QuantizeLinear", [source, *names], [f"{source}/quantized"], name=f"{source}/quantize"
                ),
                helper.make_node(
                    "DequantizeLinear",
                    [f"{source}/quantized", *names],
                    [f"{source}/dequantized"],
                    name=f"{source}/dequantize",
                ),
            ]
        )

    def _dynamic_source(self, source: str, first: str) -> None:
        outputs = [f"{source}/dynamic/{part}" for part in ("quantized", "scale", "zero_point")]
        node = helper.make_node("DynamicQuantizeLinear", [source], outputs, name=f"{source}/quantize_dynamically")
        self._before.setdefault(first, []).append(node)

    def _new(self, product: Product, read: _Source) -> NewProduct:
        matrix, factors = product.matrix(self.graph), read.factors
        node = self.graph.node(product.name)
        bias = self._bias(node, matrix.shape[1])
        return NewProduct(
            name=product.name,
            key=f"{product.weight}{'/smoothed/' + read.name if factors is not None else ''}",
            matrix=matrix if factors is None else matrix * factors[:, None],
            bias=bias[1] if bias else None,
            replaced=[product.name, *([bias[0].name] if bias and bias[0] is not node else [])],
            output=(bias[0] if bias else node).output[0],
            place=product.name,
        )

    def _bias(self, node: NodeProto, width: int) -> tuple[NodeProto, np.ndarray[Any, Any]] | None:
        """The node that adds the bias, the product itself if it is a Gemm, and the bias of shape (outputs,)."""
        if node.op_type == "Gemm":
            array = self.graph.array(node.input[2]) if len(node.input) > 2 else None
            return node, np.zeros(width, np.float32) if array is None else np.broadcast_to(array.reshape(-1), width)
        readers = self.graph.consumers(node)
        if len(readers) != 1 or readers[0].op_type != "Add" or self._is_result(node.output[0]):
            return None
        other = [name for name in readers[0].input if name != node.output[0]]
        array = self.graph.array(other[0]) if len(other) == 1 else None
        if array is None or array.shape != (width,):
            return None
        return readers[0], array

    def _is_result(self, tensor: str) -> bool:
        return tensor in {item.name for item in self.model.graph.output}

    def _merged(self, products: Sequence[NewProduct]) -> list[NewProduct]:
        """One product of several that read the same, all with a bias or all without, and the Split behind it."""
        if len({product.bias is None for product in products}) > 1:
            return list(products)
        biases = [product.bias for product in products if product.bias is not None]
        first = products[0]
        merged = f"{first.output}/merged"
        sizes = [product.matrix.shape[1] for product in products]
        outputs = [product.output for product in products]
        if self._opset >= SPLIT_SIZES_ARE_INPUT:
            sizes_name = self._constant(f"{merged}/sizes", np.asarray(sizes, dtype=np.int64))
            split = helper.make_node("Split", [merged, sizes_name], outputs, name=f"{merged}/split", axis=-1)
        else:
            split = helper.make_node("Split", [merged], outputs, name=f"{merged}/split", axis=-1, split=sizes)
        self._behind.setdefault(first.place, []).append(split)
        return [
            NewProduct(
                name=f"{first.name}/merged",
                key="+".join(product.key for product in products),
                matrix=np.concatenate([product.matrix for product in products], axis=1),
                bias=np.concatenate(biases) if biases else None,
                replaced=[name for product in products for name in product.replaced],
                output=merged,
                place=first.place,
            )
        ]

    def _write(self, product: NewProduct, source: str, mode: str) -> None:
        """The nodes of one product and its bias."""
        numbers, scale, zero = int8.quantize(product.matrix, self.weight_type, self.settings.per_channel)
        weight = (
            self._constant(f"{product.key}/quantized", numbers),
            self._constant(f"{product.key}/weight_scale", scale),
            self._constant(f"{product.key}/weight_zero_point", zero),
        )
        bias = None
        if product.bias is not None:
            bias = self._constant(f"{product.output}/bias", np.ascontiguousarray(product.bias))
        if mode == "static" and self.settings.placement.operators == "onnxruntime":
            nodes = [own_node(product, source, weight, bias)]
        else:
            result = product.output if bias is None else f"{product.output}/product"
            form = dynamic_nodes(product.name, source, weight, result)
            if mode == "static":
                form = static_nodes(product.name, source, weight, result, bool(scale.ndim))
            added = (
                [helper.make_node("Add", [result, bias], [product.output], name=f"{product.name}/bias")] if bias else []
            )
            nodes = [*form, *added]
        self._behind.setdefault(product.place, [])[:0] = nodes
        self._gone.update(product.replaced)

    def _constant(self, name: str, value: Any) -> str:
        """An initializer; shared weights (ALBERT's layers) are written once."""
        if name not in self._constants:
            self._constants.add(name)
            self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

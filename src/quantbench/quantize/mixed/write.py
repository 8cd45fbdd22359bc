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
from onnx import NodeProto, TensorProto, helper, numpy_helper

from quantbench.graph.edit import remove_unread, set_nodes
from quantbench.graph.view import Graph
from quantbench.quantize.calibration.activations import Statistics
from quantbench.quantize.mixed import fuse_attention, int8, keep_sums, smooth_quant
from quantbench.quantize.mixed import products as site_finder
from quantbench.quantize.mixed.products import Site
from quantbench.schema.settings import Calibration, Mode, Settings
from quantbench.system.writing import write_atomically

SPLIT_SIZES_ARE_INPUT = 13
"""Opset since which Split takes its sizes as an input (ONNX operator specification)."""


def write_mixed(
    float_model: Path,
    settings: Settings,
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
    model = onnx.load(str(float_model))
    if settings.placement.operators == "onnxruntime":
        fuse_attention.fuse(model)
        keep_sums.keep_apart(model)
    found = site_finder.find(Graph(model))
    modes = site_finder.modes(found, settings.placement)
    modes |= {name: "float" for name in modes if name in set(exclude)}
    rewrite = _Rewrite(model, settings, weight_type, statistics)
    for source, members in site_finder.units(found).items():
        quantized = {mode: [s for s in members if modes[s.name] == mode] for mode in ("dynamic", "static")}
        rewrite.unit(source, quantized)
    rewrite.finish()
    write_atomically(path, model.SerializeToString(deterministic=True))
    return modes


@dataclass
class _Rewrite:
    """Replaces products in a model, in place: new nodes stand where the first product of their unit stood."""

    model: onnx.ModelProto
    settings: Settings
    weight_type: str
    statistics: Statistics
    _before: dict[str, list[NodeProto]] = field(default_factory=dict)
    _behind: dict[str, list[NodeProto]] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    _constants: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.graph = Graph(self.model)
        self._opset = next(item.version for item in self.model.opset_import if item.domain in ("", "ai.onnx"))

    def unit(self, source: str, by_mode: dict[str, list[Site]]) -> None:
        """Quantize the sites of one unit."""
        every = [site for members in by_mode.values() for site in members]
        if not every:
            return
        lows, highs, scale = self._smooth(source, every)
        for mode, members in by_mode.items():
            if not members:
                continue
            first = members[0].name
            if mode == "static":
                self._static_source(source, first, lows, highs)
            else:
                self._dynamic_source(source, first)
            products = [self._product(site, scale) for site in members]
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

    def _smooth(self, source: str, members: Sequence[Site]) -> tuple[Any, Any, Any]:
        """Extremes of the source's channels and what they are divided by, None where they are not."""
        figures = self.statistics.get(source)
        strength = self.settings.placement.smooth_quant
        affine = smooth_quant.affine_of(self.graph, source) if strength else None
        if figures is None:
            return None, None, None
        if affine is None:
            return figures.lows, figures.highs, None
        matrix = np.concatenate([site.matrix(self.graph) for site in members], axis=1)
        scale = smooth_quant.factors(figures.lows, figures.highs, matrix, strength)
        restore = smooth_quant.migrate(self.model, self.graph, affine, source, scale, {site.name for site in members})
        if restore is not None:
            self._behind.setdefault(affine.bias[0].name, []).append(restore)
        return figures.lows / scale, figures.highs / scale, scale

    def _static_source(self, source: str, first: str, lows: Any, highs: Any) -> None:
        calibration: Calibration = self.settings.calibration
        if calibration.method == "minmax":
            low, high = float(lows.min()), float(highs.max())
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

    def _product(self, site: Site, scale: Any) -> _Product:
        matrix = site.matrix(self.graph)
        node = next(node for node in self.graph.nodes if node.name == site.name)
        bias = self._bias(node, matrix.shape[1])
        return _Product(
            name=site.name,
            key=f"{site.weight}{'/smoothed/' + site.source if scale is not None else ''}",
            matrix=matrix if scale is None else matrix * scale[:, None],
            bias=bias[1] if bias else None,
            replaced=[site.name, *([bias[0].name] if bias and bias[0] is not node else [])],
            output=(bias[0] if bias else node).output[0],
            place=site.name,
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

    def _merged(self, products: Sequence[_Product]) -> list[_Product]:
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
            _Product(
                name=f"{first.name}/merged",
                key="+".join(product.key for product in products),
                matrix=np.concatenate([product.matrix for product in products], axis=1),
                bias=np.concatenate(biases) if biases else None,
                replaced=[name for product in products for name in product.replaced],
                output=merged,
                place=first.place,
            )
        ]

    def _write(self, product: _Product, source: str, mode: str) -> None:
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
            nodes = [_own_node(product, source, weight, bias)]
        else:
            result = product.output if bias is None else f"{product.output}/product"
            form = _dynamic_nodes(product.name, source, weight, result)
            if mode == "static":
                form = _static_nodes(product.name, source, weight, result, bool(scale.ndim))
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


@dataclass(frozen=True)
class _Product:
    """A product to be written: ``replaced`` nodes go, the new ones stand behind the place of node ``place``."""

    name: str
    key: str
    matrix: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any] | None
    replaced: list[str]
    output: str
    place: str


Weight = tuple[str, str, str]
"""Names of a weight's numbers, scales and zero points."""


def _static_nodes(name: str, source: str, weight: Weight, result: str, per_channel: bool) -> list[NodeProto]:
    """A float product of dequantized operands, which runtimes fuse into an integer one."""
    axis = {"axis": 1} if per_channel else {}
    wide = f"{name}/weight"
    return [
        helper.make_node("DequantizeLinear", list(weight), [wide], name=f"{name}/dequantize", **axis),
        helper.make_node("MatMul", [f"{source}/dequantized", wide], [result], name=name),
    ]


def _dynamic_nodes(name: str, source: str, weight: Weight, result: str) -> list[NodeProto]:
    """Integer product, and its scaling as ONNX Runtime's fusions look for it: by the product of both scales."""
    values, scale, zero = weight
    operands = [f"{source}/dynamic/quantized", values, f"{source}/dynamic/zero_point", zero]
    return [
        helper.make_node("MatMulInteger", operands, [f"{name}/integer"], name=name),
        helper.make_node("Cast", [f"{name}/integer"], [f"{name}/cast"], name=f"{name}/to_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{source}/dynamic/scale", scale], [f"{name}/scale"], name=f"{name}/scales"),
        helper.make_node("Mul", [f"{name}/cast", f"{name}/scale"], [result], name=f"{name}/scaled"),
    ]


def _own_node(product: _Product, source: str, weight: Weight, bias: str | None) -> NodeProto:
    """ONNX Runtime's integer product with float results, which adds the bias too."""
    values, scale, zero = weight
    inputs = [f"{source}/quantized", values, f"{source}/scale", scale, f"{source}/zero_point", zero]
    return helper.make_node(
        "MatMulIntegerToFloat",
        [*inputs, *([bias] if bias else [])],
        [product.output],
        name=product.name,
        domain=fuse_attention.DOMAIN,
    )

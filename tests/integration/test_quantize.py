"""Quantized files: what was asked for is what is in them, and what a session executes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support.tiny_models import export_tiny_encoder, tiny_inputs

from quantbench.graph.fingerprint import computation_hash
from quantbench.graph.view import Graph
from quantbench.plugins import registry
from quantbench.quantize.calibration.ranges import Collector, Ranges
from quantbench.quantize.inspection import TWO_SIDED, quantized_operators
from quantbench.quantize.with_onnxruntime import write_quantized
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Calibration, Dataset, Settings

LAYERS = 2
PROJECTIONS = 6 * LAYERS + 1  # query, key, value, output, two of the feed-forward; and the classifier
PRODUCTS = PROJECTIONS + 2 * LAYERS  # and queries by keys, probabilities by values
ALL_GROUPS = ("layernorm", "gelu", "residual", "gather", "softmax")
ONNX_TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def executed(path: Path, folder: Path) -> dict[str, int]:
    spec = ArmSpec(runtime="onnxruntime", path=str(path), sha256="", options={"optimization_level": 99})
    return registry.runtime("onnxruntime").executed(spec, folder)


class Bench:
    """A float export, its ranges, and int8 versions of it."""

    def __init__(self, folder: Path, opset: int) -> None:
        self.opset, self.folder = opset, folder
        self.path = export_tiny_encoder(folder, "bert", opset)
        self.graph = Graph.read(self.path)
        samples = [tiny_inputs(1, length, seed=length) for length in (1, 3, 8, 20, 30, 64, 64)]
        self.ranges: Ranges = Collector(self.path, len(samples), samples.__getitem__, 1).collect(Calibration())

    def excluded(self, groups: Iterable[str]) -> list[str]:
        return sorted({name for group in groups for name in registry.exclusion(group).select(self.graph)})

    def write(
        self,
        approach: str,
        operators: tuple[str, ...],
        groups: Iterable[str] = (),
        types: tuple[str, str] = ("uint8", "int8"),
        per_channel: bool = False,
        name: str = "quantized.onnx",
    ) -> Path:
        settings = Settings(
            task="token-classification",
            model_name_or_path="model",
            dataset=Dataset(path="data"),
            quantization_approach=approach,
            operators_to_quantize=operators,
            per_channel=per_channel,
        )
        path = self.folder / name
        ranges = self.ranges if approach == "static" else None
        write_quantized(self.path, settings, types, self.excluded(groups), ranges, path)
        return path

    def executed(self, path: Path) -> dict[str, int]:
        return executed(path, self.folder)

    def float_adds(self) -> int:
        """Adds of float numbers, which excludes those that compute shapes and masks."""
        return sum(self.graph.is_float(node.output[0]) for node in self.graph.of_type("Add"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Benches by opset, each made once."""
    made: dict[int, Bench] = {}

    def get(opset: int) -> Bench:
        if opset not in made:
            made[opset] = Bench(tmp_path_factory.mktemp(f"opset{opset}"), opset)
        return made[opset]

    return get


def operators(path: Path) -> dict[str, int]:
    return quantized_operators(Graph.read(path))


@pytest.mark.parametrize("opset", [11, 17])
def test_static_matmul_quantizes_every_product_and_nothing_else(bench, opset):
    path = bench(opset).write("static", ("MatMul",))
    assert operators(path) == {"MatMul": PRODUCTS}
    executed = bench(opset).executed(path)
    assert executed.get("MatMul", 0) == 0
    assert executed.get("QLinearMatMul", 0) + executed.get("MatMulIntegerToFloat", 0) == PRODUCTS


@pytest.mark.parametrize("opset", [11, 17])
def test_static_add_and_matmul_without_softmax(bench, opset):
    path = bench(opset).write("static", ("Add", "MatMul"), ["softmax"])
    adds = bench(opset).float_adds() - LAYERS
    if opset == 11:
        adds -= 2 * LAYERS + 1  # x + epsilon in decomposed normalizations gives no quantized tensor
    counts = operators(path)
    assert counts["MatMul"] == PRODUCTS
    assert counts["Add"] == bench(opset).executed(path)["QLinearAdd"]
    assert set(counts) == {"Add", "MatMul"}


@pytest.mark.parametrize("opset", [11, 17, 20])
def test_with_all_groups_excluded_only_biases_are_added_in_int8(bench, opset):
    path = bench(opset).write("static", ("Add", "MatMul"), ALL_GROUPS)
    assert operators(path) == {"Add": PROJECTIONS, "MatMul": PRODUCTS}
    assert bench(opset).executed(path)["QLinearAdd"] == PROJECTIONS


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize("groups", [(group,) for group in ALL_GROUPS] + [ALL_GROUPS])
@pytest.mark.parametrize(
    "wanted", [("Add", "MatMul"), ("Add", "Gather", "LayerNormalization", "MatMul", "Mul", "Softmax")]
)
def test_excluded_nodes_compute_in_float(bench, opset, groups, wanted):
    path = bench(opset).write("static", wanted, groups)
    names = set(bench(opset).excluded(groups))
    quantized = Graph.read(path)
    kept = [node for node in quantized.nodes if node.name in names]
    assert len(kept) == len(names)
    for node in kept:
        # Operators like Gelu have no integer form that they could be fused into.
        assert node.op_type not in TWO_SIDED or not between_quantized(quantized, node), node.name
    counts, executed = quantized_operators(quantized), bench(opset).executed(path)
    for kind, fused in {"Add": "QLinearAdd", "Mul": "QLinearMul", "Softmax": "QLinearSoftmax"}.items():
        assert counts.get(kind, 0) == executed.get(fused, 0)


def between_quantized(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether everything that a node reads comes out of int8 and all that it makes goes into it."""
    makers = [graph.producer(name) for name in node.input if name]
    readers = graph.consumers(node)
    return all(m is not None and m.op_type == "DequantizeLinear" for m in makers) and all(
        r.op_type == "QuantizeLinear" for r in readers
    )


def test_an_excluded_residual_between_quantized_nodes_costs_no_other_node(bench):
    wanted = ("Add", "LayerNormalization", "MatMul")
    free = bench(17).write("static", wanted, name="free.onnx")
    kept = bench(17).write("static", wanted, ["residual"], name="kept.onnx")
    residuals = len(bench(17).excluded(["residual"]))
    assert operators(kept)["Add"] == operators(free)["Add"] - residuals
    assert operators(kept)["MatMul"] == operators(free)["MatMul"] == PRODUCTS
    assert bench(17).executed(kept)["QLinearAdd"] == bench(17).executed(free)["QLinearAdd"] - residuals


@pytest.mark.parametrize(("activation", "weight"), [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
@pytest.mark.parametrize("opset", [11, 17])
def test_types_are_really_in_the_file(bench, opset, activation, weight):
    path = bench(opset).write("static", ("Add", "MatMul"), ALL_GROUPS, types=(activation, weight))
    graph = Graph.read(path)
    types = {item.name: item.data_type for item in graph.model.graph.initializer}
    activations = {types[node.input[2]] for node in graph.of_type("QuantizeLinear")}
    assert activations == {ONNX_TYPES[activation]}
    weights = [types[weight_of(graph, node)] for node in graph.of_type("MatMul") if weight_of(graph, node)]
    assert weights == [ONNX_TYPES[weight]] * PROJECTIONS


def weight_of(graph: Graph, node: onnx.NodeProto) -> str | None:
    """Name of the quantized weight that a product reads, if it reads one."""
    dequantize = graph.producer(node.input[1])
    name = dequantize.input[0] if dequantize is not None and dequantize.op_type == "DequantizeLinear" else ""
    return name if name and graph.is_constant(name) else None


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("per_channel", [False, True])
def test_per_channel_weights_have_a_scale_per_output(bench, opset, per_channel):
    graph = Graph.read(bench(opset).write("static", ("MatMul",), per_channel=per_channel))
    constants = {item.name: numpy_helper.to_array(item) for item in graph.model.graph.initializer}
    seen = 0
    for node in graph.of_type("MatMul"):
        if (name := weight_of(graph, node)) is None:
            continue
        dequantize = graph.producer(node.input[1])
        scale, zero, weight = (constants[dequantize.input[i]] for i in (1, 2, 0))
        assert name == dequantize.input[0]
        assert scale.shape == zero.shape == ((weight.shape[1],) if per_channel else ())
        axes = [attribute.i for attribute in dequantize.attribute if attribute.name == "axis"]
        assert not per_channel or axes[0] % weight.ndim == 1
        seen += 1
    assert seen == PROJECTIONS


def test_scales_follow_from_the_ranges(bench):
    graph = Graph.read(bench(17).write("static", ("MatMul",)))
    constants = {item.name: numpy_helper.to_array(item) for item in graph.model.graph.initializer}
    quantizations = list(graph.of_type("QuantizeLinear"))
    assert quantizations
    for node in quantizations:
        low, high = bench(17).ranges[node.input[0]]
        scale = (max(high, 0) - min(low, 0)) / 255
        assert constants[node.input[1]] == pytest.approx(scale, rel=1e-5)
        assert constants[node.input[2]] == pytest.approx(-min(low, 0) / scale, abs=0.51)


@pytest.mark.parametrize("activation", ["uint8", "int8"])
def test_ranges_of_masks_give_finite_scales(bench, activation):
    path = bench(17).write("static", ("Add", "MatMul"), types=(activation, "int8"))
    graph = Graph.read(path)
    constants = {item.name: numpy_helper.to_array(item) for item in graph.model.graph.initializer}
    scales = [constants[node.input[1]] for node in graph.of_type("QuantizeLinear", "DequantizeLinear")]
    assert all(np.isfinite(scale).all() and (scale > 0).all() for scale in scales)
    limit = float(np.finfo(np.float32).max)
    unbounded = dict.fromkeys(bench(17).ranges, (-limit, limit))
    settings = Settings(
        task="t",
        model_name_or_path="m",
        dataset=Dataset(path="d"),
        quantization_approach="static",
        operators_to_quantize=("MatMul",),
    )
    write_quantized(bench(17).path, settings, (activation, "int8"), [], unbounded, path)
    graph = Graph.read(path)
    constants = {item.name: numpy_helper.to_array(item) for item in graph.model.graph.initializer}
    assert all(np.isfinite(constants[node.input[1]]).all() for node in graph.of_type("QuantizeLinear"))


@pytest.mark.parametrize("opset", [11, 17])
def test_dynamic_add_changes_nothing(bench, opset):
    path = bench(opset).write("dynamic", ("Add",))
    assert operators(path) == {}
    assert computation_hash(onnx.load(path)) == computation_hash(bench(opset).graph.model)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_matmul_quantizes_products_with_weights(bench, opset, per_channel):
    path = bench(opset).write("dynamic", ("MatMul",), per_channel=per_channel)
    assert operators(path) == {"MatMul": PROJECTIONS}
    executed = bench(opset).executed(path)
    assert executed["DynamicQuantizeMatMul"] + executed["MatMulIntegerToFloat"] == PROJECTIONS
    assert executed["MatMul"] + executed["FusedMatMul"] == PRODUCTS - PROJECTIONS


@pytest.mark.parametrize("weight", ["uint8", "int8"])
def test_dynamic_weights_have_the_type_asked_for(bench, weight):
    path = bench(17).write("dynamic", ("MatMul",), types=("uint8", weight))
    graph = Graph.read(path)
    types = {item.name: item.data_type for item in graph.model.graph.initializer}
    products = list(graph.of_type("MatMulInteger"))
    assert [types[node.input[1]] for node in products] == [ONNX_TYPES[weight]] * PROJECTIONS


@pytest.mark.parametrize("opset", [11, 17])
def test_exclusions_change_nothing_under_dynamic(bench, opset):
    hashes = {
        computation_hash(onnx.load(bench(opset).write("dynamic", ("MatMul",), groups)))
        for groups in ((), *((group,) for group in ALL_GROUPS), ALL_GROUPS)
    }
    assert len(hashes) == 1
    assert hashes != {computation_hash(bench(opset).graph.model)}


def test_exclusions_change_something_under_static(bench):
    groups = ((), *((group,) for group in ALL_GROUPS), ALL_GROUPS)
    paths = [bench(11).write("static", ("Add", "MatMul"), chosen) for chosen in groups[:1]]
    hashes = {computation_hash(onnx.load(path)) for path in paths}
    for chosen in groups[1:]:
        hashes.add(computation_hash(onnx.load(bench(11).write("static", ("Add", "MatMul"), chosen))))
    assert len(hashes) == len(groups)


@pytest.mark.parametrize("approach", ["static", "dynamic"])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("groups", [(), ALL_GROUPS])
def test_the_file_runs_at_other_shapes_and_resembles_the_original(bench, approach, opset, groups):
    path = bench(opset).write(approach, ("MatMul",), groups)
    onnx.checker.check_model(str(path))
    plain, original = (onnxruntime.InferenceSession(str(p)) for p in (path, bench(opset).path))
    names = [item.name for item in original.get_inputs()]
    assert [item.name for item in plain.get_inputs()] == names
    for batch, length in ((1, 1), (1, 30), (4, 8), (7, 64)):
        inputs = tiny_inputs(batch, length, seed=batch, padded=length > 1)
        [got], [wanted] = plain.run(None, inputs), original.run(None, inputs)
        assert got.shape == wanted.shape == (batch, length, 5)
        assert np.abs(got - wanted).max() > 0
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 0.2 * wanted.std()


TWICE = """
import json, sys
from pathlib import Path
from quantbench.quantize.with_onnxruntime import write_quantized
from quantbench.schema.settings import Settings
for job in json.loads(sys.argv[1]):
    ranges = {name: tuple(pair) for name, pair in job["ranges"].items()} if job["ranges"] else None
    settings = Settings.model_validate_json(job["settings"])
    write_quantized(Path(job["model"]), settings, ("uint8", "int8"), job["exclude"], ranges, Path(job["path"]))
"""


def test_writing_is_deterministic_across_processes(bench, tmp_path):
    cases = [
        ("static", ("Add", "MatMul"), ALL_GROUPS, False),
        ("static", ("Add", "LayerNormalization", "MatMul"), ("residual",), True),
        ("dynamic", ("MatMul",), (), False),
    ]
    written = [bench(17).write(*case[:3], per_channel=case[3], name=f"{i}.onnx") for i, case in enumerate(cases)]
    wanted = [hashlib.sha256(path.read_bytes()).hexdigest() for path in written]
    for seed in ("1", "2"):
        jobs = [
            {
                "model": str(bench(17).path),
                "settings": Settings(
                    task="token-classification",
                    model_name_or_path="model",
                    dataset=Dataset(path="data"),
                    quantization_approach=approach,
                    operators_to_quantize=kinds,
                    per_channel=per_channel,
                ).model_dump_json(),
                "exclude": bench(17).excluded(groups),
                "ranges": bench(17).ranges if approach == "static" else None,
                "path": str(tmp_path / seed / f"{i}.onnx"),
            }
            for i, (approach, kinds, groups, per_channel) in enumerate(cases)
        ]
        run = [sys.executable, "-c", TWICE, json.dumps(jobs)]
        subprocess.run(run, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed})
        found = [hashlib.sha256((tmp_path / seed / path.name).read_bytes()).hexdigest() for path in written]
        assert found == wanted


@pytest.mark.parametrize(
    "kind",
    ["CumSum", "Gelu", "InstanceNormalization", "LayerNormalization", "Pad", "Relu", "Sigmoid", "Softmax", "Tanh"],
)
def test_an_operator_without_an_integer_form_is_not_counted(tmp_path, kind):
    path = tmp_path / "one.onnx"
    onnx.save(between(kind), path)
    run = executed(path, tmp_path)
    fused = f"QLinear{kind}" in run
    assert fused != (kind in run)
    assert fused == (kind in TWO_SIDED)
    assert operators(path) == ({kind: 1} if fused else {})


def between(kind: str) -> onnx.ModelProto:
    """One operator between two quantized sides."""
    ones = np.ones(8, np.float32)
    extra = {
        "LayerNormalization": {"weight": ones},
        "InstanceNormalization": {"weight": ones[:4], "bias": ones[:4]},
        "CumSum": {"axis": np.int64(1)},
        "Pad": {"pads": np.int64([0, 0, 1, 0, 0, 1])},
    }.get(kind, {})
    step = ["step", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *step], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *step], ["d"]),
        helper.make_node(kind, ["d", *extra], ["o"], "only"),
        helper.make_node("QuantizeLinear", ["o", *step], ["p"]),
        helper.make_node("DequantizeLinear", ["p", *step], ["y"]),
    ]
    constants = {"step": np.float32(0.1), "zero": np.uint8(100), **extra}
    graph = helper.make_graph(
        nodes,
        "between",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)

"""Own placement: any of it runs, float edges stay float, and a recipe makes the same file again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.support.tiny_models import export_tiny_encoder, tiny_inputs

from quantbench.errors import RunFailed
from quantbench.graph.view import Graph
from quantbench.quantize.calibration import activations
from quantbench.quantize.mixed import fuse_attention
from quantbench.quantize.mixed.key_padding import is_key_padding
from quantbench.quantize.mixed.products import find_products, grouped, modes_of
from quantbench.quantize.mixed.write import write_mixed
from quantbench.schema.settings import Calibration, Dataset, Placement, Settings

KINDS = ("bert", "distilbert", "roberta", "electra", "albert", "mpnet")
OPSETS = (11, 13, 17, 20)
"""Decomposed layer normalizations up to 16, one node from 17 on, one node for GELU from 20 on."""
PER_LAYER = 6


class Model:
    """A tiny exported encoder with everything that placing needs."""

    def __init__(self, folder: Path, kind: str, opset: int) -> None:
        self.path = export_tiny_encoder(folder, kind, opset)
        self.folder, self.opset = folder, opset
        self.graph = Graph.read(self.path)
        self.products = find_products(self.graph)
        samples = [tiny_inputs(1, length, seed=length) for length in (3, 8, 20, 30)]
        tensors = list(grouped(self.products))
        self.statistics = activations.collect(self.path, tensors, len(samples), samples.__getitem__, 1, lambda _: None)
        self.plain = self.session(self.path)

    def write(self, placement: Placement, per_channel: bool = True, weight_type: str = "int8", **changes) -> Path:
        chosen = Settings(
            task="token-classification",
            model_name_or_path="tiny",
            dataset=Dataset(path="data"),
            quantization_approach="mixed",
            placement=placement,
            per_channel=per_channel,
            **changes,
        )
        path = self.folder / "mixed.onnx"
        write_mixed(self.path, chosen, weight_type, (), self.statistics, path)
        return path

    @staticmethod
    def session(path: Path) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def outputs(self, session: onnxruntime.InferenceSession, batch: int, length: int) -> np.ndarray:
        names = {item.name for item in session.get_inputs()}
        inputs = tiny_inputs(batch, length, seed=batch + length, padded=True)
        return session.run(None, {name: array for name, array in inputs.items() if name in names})[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    made: dict[tuple[str, int], Model] = {}

    def get(kind: str, opset: int) -> Model:
        opset = max(opset, 13) if kind == "mpnet" else opset  # its Min of whole numbers needs opset 12
        if (kind, opset) not in made:
            made[kind, opset] = Model(tmp_path_factory.mktemp(kind), kind, opset)
        return made[kind, opset]

    return get


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", (11, 17))
def test_every_projection_is_found(models, kind, opset):
    model = models(kind, opset)
    extra = 1 + (kind in ("electra", "albert") and any("embedding" in product.name for product in model.products))
    assert len(model.products) == 2 * PER_LAYER + extra, [product.name for product in model.products]
    shared = [members for members in grouped(model.products).values() if len(members) > 1]
    assert [len(members) for members in shared] == [3, 3], "query, key and value read the same"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(KINDS), opset=st.sampled_from(OPSETS))
def test_any_placement_runs_at_any_size(models, data, kind, opset):
    model = models(kind, opset)
    names = [product.name for product in model.products]
    modes = st.sampled_from(["float", "dynamic", "static"])
    placement = Placement(
        default=data.draw(modes),
        matmuls=data.draw(st.dictionaries(st.sampled_from(names), modes, max_size=6)),
        smooth_quant=data.draw(st.sampled_from([0.0, 0.5, 0.8])),
        merge=data.draw(st.booleans()),
        operators=data.draw(st.sampled_from(["standard", "onnxruntime"])),
    )
    per_channel = data.draw(st.booleans()) and model.opset >= 13
    path = model.write(placement, per_channel, data.draw(st.sampled_from(["int8", "uint8"])))
    onnx.checker.check_model(str(path))
    session = model.session(path)
    for batch, length in ((1, 1), (2, 7), (3, 33)):
        outputs, plain = model.outputs(session, batch, length), model.outputs(model.plain, batch, length)
        assert outputs.shape == plain.shape
        assert np.isfinite(outputs).all()
        chosen = set(modes_of(model.products, placement).values())
        if chosen == {"float"}:
            np.testing.assert_allclose(outputs, plain, atol=1e-5)
        else:
            assert np.abs(outputs - plain).mean() < 0.3 * np.abs(plain).mean() + 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("operators", ["standard", "onnxruntime"])
def test_everything_in_float_is_the_original(models, kind, opset, operators):
    model = models(kind, opset)
    placement = Placement(default="float", merge=True, operators=operators)
    session = model.session(model.write(placement))
    for batch, length in ((1, 5), (4, 40)):
        np.testing.assert_allclose(
            model.outputs(session, batch, length), model.outputs(model.plain, batch, length), atol=1e-5
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", (11, 17))
def test_scale_migration_alone_changes_nothing_but_rounding(models, kind, opset):
    """With weights and activations of 8 bits the results stay near; moved into float they would be equal."""
    model = models(kind, opset)
    path = model.write(Placement(default="static", smooth_quant=0.5), opset >= 13)
    graph = Graph.read(path)
    assert any(node.name.endswith("/restore") for node in graph.of_type("Mul")), "the residual reads what it read"
    plain, outputs = (model.outputs(s, 3, 20) for s in (model.plain, model.session(path)))
    assert np.abs(outputs - plain).mean() < 0.3 * np.abs(plain).mean(), (
        "0.25 where the CPU has no VNNI and sums saturate"
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(KINDS), opset=st.sampled_from((11, 17)))
def test_float_edges_read_the_unrounded_tensor(models, data, kind, opset):
    """Edge by edge: rounding is read by quantized products alone, and every other reader reads what was made."""
    model = models(kind, opset)
    names = [product.name for product in model.products]
    modes = st.sampled_from(["float", "dynamic", "static"])
    placement = Placement(default=data.draw(modes), matmuls={name: data.draw(modes) for name in names})
    chosen = modes_of(model.products, placement)
    after = Graph.read(model.write(placement, opset >= 13))
    quantized = {name for name, mode in chosen.items() if mode != "float"}
    for node in after.nodes:
        rounded = [name for name in node.input if _is_rounded(after, name)]
        if rounded:
            assert node.name in quantized or node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast", "Mul")
    before = {node.name: node for node in model.graph.nodes}
    for node in after.nodes:
        if node.name in before and node.name not in quantized:
            assert list(node.input) == list(before[node.name].input), node.name


def _is_rounded(graph: Graph, tensor: str) -> bool:
    node = graph.producer(tensor)
    return node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


@pytest.mark.parametrize("default", ["static", "dynamic"])
@pytest.mark.parametrize("merge", [False, True])
def test_a_recipe_makes_the_identical_file(models, default, merge):
    model = models("bert", 17)
    placement = Placement(default=default, matmuls={"*query*": "float"}, smooth_quant=0.4, merge=merge)
    first = hashlib.sha256(model.write(placement).read_bytes()).hexdigest()
    again = Placement.model_validate_json(placement.model_dump_json())
    assert hashlib.sha256(model.write(again).read_bytes()).hexdigest() == first


def test_equal_inputs_are_quantized_once_and_merged_where_asked(models):
    model = models("bert", 17)
    apart, merged = (Graph.read(model.write(Placement(default="dynamic", merge=merge))) for merge in (False, True))
    assert len(list(apart.of_type("MatMulInteger"))) == 2 * PER_LAYER + 1
    assert len(list(merged.of_type("MatMulInteger"))) == 2 * (PER_LAYER - 2) + 1
    groups = len(grouped(model.products))
    assert len(list(apart.of_type("DynamicQuantizeLinear"))) == groups
    assert len(list(merged.of_type("DynamicQuantizeLinear"))) == groups


def test_merging_changes_no_result(models):
    for default in ("static", "dynamic"):
        model = models("bert", 17)
        results = [
            model.outputs(model.session(model.write(Placement(default=default, merge=merge))), 2, 12)
            for merge in (False, True)
        ]
        np.testing.assert_allclose(*results, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
def test_every_attention_becomes_one_node(models, kind, opset):
    """The masks are the padding of the keys and nothing else; MPNet's relative positions are not recognized."""
    model = onnx.load(str(models(kind, opset).path))
    before = len(model.graph.node)
    assert fuse_attention.fuse(model) == (0 if kind == "mpnet" else 2)
    if kind == "mpnet":
        return
    after = Graph(model)
    assert not list(after.of_type("Softmax"))
    assert len(after.nodes) < 0.6 * before
    assert [len(node.input) for node in after.of_type("MultiHeadAttention")] == [5, 5]


@pytest.mark.parametrize("operators", ["standard", "onnxruntime"])
def test_static_products_are_the_same_in_both_forms(models, operators):
    model = models("bert", 17)
    path = model.write(Placement(default="static", operators=operators))
    plain = model.outputs(model.session(model.write(Placement(default="static"))), 3, 21)
    path = model.write(Placement(default="static", operators=operators))
    np.testing.assert_allclose(model.outputs(model.session(path), 3, 21), plain, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "expected"),
    [("none", True), ("causal", False), ("unmasked", False), ("weak", False)],
)
def test_a_mask_is_told_from_one_that_hides_something_else(change, expected):
    """Masks of shape (batch, 1, tokens, tokens) made from attention_mask, with one thing changed."""
    nodes = [
        helper.make_node("Unsqueeze", ["attention_mask", "axes"], ["wide"]),
        helper.make_node("Cast", ["wide"], ["keep"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["keep", "one"], ["off"]),
        helper.make_node("Mul", ["off", "large"], ["mask"]),
    ]
    if change == "causal":
        nodes += [
            helper.make_node("Transpose", ["keep"], ["turned"], perm=[0, 1, 3, 2]),
            helper.make_node("MatMul", ["turned", "keep"], ["square"]),
            helper.make_node("Trilu", ["square", "above"], ["later"], upper=1),
            helper.make_node("Mul", ["later", "large"], ["hidden"]),
            helper.make_node("Sub", ["mask", "hidden"], ["mask2"]),
        ]
    if change == "unmasked":
        nodes.append(helper.make_node("Mul", ["mask", "zero"], ["mask2"]))
    name = "mask2" if change in ("causal", "unmasked") else "mask"
    large = 100.0 if change == "weak" else 1e9
    constants = {
        "axes": np.array([1, 2]),
        "one": np.float32(1),
        "large": np.float32(large),
        "zero": np.float32(0),
        "above": np.int64(1),
    }
    graph = helper.make_graph(
        nodes,
        "mask",
        [helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert is_key_padding(model, name) == expected


def test_the_last_pattern_that_matches_counts(models):
    model = models("bert", 17)
    query = next(product.name for product in model.products if "query" in product.name)
    found = modes_of(model.products, Placement(default="float", matmuls={"*": "static", query: "dynamic"}))
    assert found.pop(query) == "dynamic"
    assert set(found.values()) == {"static"}


def test_a_pattern_that_matches_nothing_is_refused(models):
    model = models("bert", 17)
    with pytest.raises(RunFailed, match=r"placement\.matmuls: 'qeury' matches no product"):
        model.write(Placement(matmuls={"qeury": "float"}))


def test_a_session_computes_the_products_in_int8(models):
    """In the forms that ONNX Runtime fuses: no product is left in float but those of two computed tensors."""
    for default in ("static", "dynamic"):
        model = models("bert", 17)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(model.folder / "session.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(
            str(model.write(Placement(default=default))), options, providers=["CPUExecutionProvider"]
        )
        types = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
        integer = sum(kind in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul") for kind in types)
        assert integer == 2 * PER_LAYER + 1, types
        assert "MatMulInteger" not in types
        assert sum(kind in ("MatMul", "FusedMatMul") for kind in types) == 4


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_every_method_gives_a_range_within_what_was_seen(models, method):
    model = models("bert", 17)
    calibration = Calibration(method=method, percentile=99.9)
    for figures in model.statistics.values():
        low, high = figures.range(calibration)
        assert figures.lows.min() <= low <= high <= figures.highs.max()
    assert model.write(Placement(default="static"), calibration=calibration).exists()

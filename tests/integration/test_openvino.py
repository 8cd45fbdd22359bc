"""OpenVINO and NNCF on small encoders: what is written, what it computes, what is executed, and how it waits."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
from tests.support.tiny_models import export_tiny_encoder, tiny_inputs

from quantbench.graph.view import Graph
from quantbench.plugins import registry
from quantbench.quantize import with_nncf
from quantbench.quantize.calibration.activations import collect
from quantbench.quantize.mixed.products import find_products, grouped
from quantbench.quantize.mixed.write import write_mixed
from quantbench.runtimes.openvino import Args
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Dataset, Settings
from quantbench.system import instruction_sets
from quantbench.system.environment import detect
from quantbench.tune import deploy

RUNTIME = registry.runtime("openvino")
LAYERS = 2
PROJECTIONS = 6 * LAYERS + 1
SHAPES = [(1, 1), (1, 30), (4, 8), (7, 64), (2, 8)]
LENGTHS = (1, 3, 8, 20, 30, 64, 64)
HAS_AVX512 = "avx512" in detect().instruction_sets
HAS_BFLOAT16 = bool(set(instruction_sets.BFLOAT16_SETS).intersection(detect().instruction_sets))


def sample(index: int):
    return tiny_inputs(1, LENGTHS[index], seed=index)


def spec(path: Path, precision: str = "float32") -> ArmSpec:
    return ArmSpec(runtime="openvino", path=str(path), sha256="", options={"precision": precision})


def int8(float_model: Path, path: Path, **args: object) -> Path:
    with_nncf.write_int8(float_model, Args(**args), len(LENGTHS), sample, path)
    return path


def sha256(path: Path) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in with_nncf.files(path)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Float exports by opset, each made once."""
    made: dict[int, Path] = {}

    def get(opset: int) -> Path:
        if opset not in made:
            made[opset] = export_tiny_encoder(tmp_path_factory.mktemp(f"opset{opset}"), "bert", opset)
        return made[opset]

    return get


@pytest.fixture(scope="module")
def quantized(exported, tmp_path_factory):
    return int8(exported(17), tmp_path_factory.mktemp("int8") / "model.xml")


def original(path: Path, inputs):
    return onnxruntime.InferenceSession(str(path)).run(None, inputs)[0]


@pytest.mark.parametrize("opset", [11, 17, 20])
def test_the_float_export_computes_the_same_as_in_onnx_runtime_at_every_shape(exported, opset):
    session = RUNTIME.load(spec(exported(opset)), 2)
    for batch, length in SHAPES:
        inputs = tiny_inputs(batch, length, seed=batch, padded=length > 1)
        [got] = session.predict({**inputs, "not an input": inputs["input_ids"]})
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, original(exported(opset), inputs), atol=2e-5)


def test_prepared_calls_keep_their_own_inputs(exported):
    session = RUNTIME.load(spec(exported(17)), 2)
    batches = [tiny_inputs(batch, length, seed=batch) for batch, length in SHAPES]
    calls = [session.prepare(inputs) for inputs in batches]
    for _ in range(2):
        for inputs, call in zip(batches, calls, strict=True):
            np.testing.assert_allclose(call()[0], original(exported(17), inputs), atol=2e-5)


def test_int8_by_nncf_resembles_the_original_at_every_shape(exported, quantized):
    session = RUNTIME.load(spec(quantized), 2)
    for batch, length in SHAPES:
        inputs = tiny_inputs(batch, length, seed=batch, padded=length > 1)
        [got], wanted = session.predict(inputs), original(exported(17), inputs)
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() > 0
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 0.3 * wanted.std(), (
        "0.21 where the CPU has no VNNI and sums saturate"
    )


def test_what_nncf_made_is_counted_and_executed_in_int8(quantized):
    model = with_nncf.read(quantized)
    made = with_nncf.chosen(model)
    assert with_nncf.quantized_operators(model)["MatMul"] >= PROJECTIONS
    assert made["weight_type"] == "int8"
    assert made["per_channel"] is True
    assert "uint8" in made["activation_type"]
    executed = RUNTIME.executed(spec(quantized), quantized.parent)
    assert sum(count for name, count in executed.items() if RUNTIME.is_integer(name)) >= PROJECTIONS
    assert not any(name.startswith("FakeQuantize") for name in executed)


def test_a_float_export_executes_nothing_in_int8(exported):
    executed = RUNTIME.executed(spec(exported(17)), exported(17).parent)
    assert executed["FullyConnected [f32]"] == PROJECTIONS
    assert not any(map(RUNTIME.is_integer, executed))
    assert with_nncf.quantized_operators(with_nncf.read(exported(17))) == {}
    assert with_nncf.chosen(with_nncf.read(exported(17)))["weight_type"] == "float32"


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "electra", "albert"])
@pytest.mark.slow
def test_other_encoders_execute_nothing_in_int8_before_and_products_after(kind, tmp_path):
    path = export_tiny_encoder(tmp_path, kind, 17)
    assert not any(map(RUNTIME.is_integer, RUNTIME.executed(spec(path), tmp_path)))
    executed = RUNTIME.executed(spec(int8(path, tmp_path / "int8" / "model.xml")), tmp_path)
    assert sum(count for name, count in executed.items() if RUNTIME.is_integer(name)) >= PROJECTIONS


@pytest.mark.skipif(not HAS_AVX512, reason="bfloat16 needs avx512 at least")
def test_bfloat16_is_what_is_executed_where_it_was_asked_for(exported, quantized):
    executed = RUNTIME.executed(spec(exported(17), "bfloat16"), exported(17).parent)
    assert executed["FullyConnected [bf16]"] == PROJECTIONS
    beside = RUNTIME.executed(spec(quantized, "bfloat16"), quantized.parent)
    assert any(map(RUNTIME.is_integer, beside))
    assert any(name.endswith("[bf16]") for name in beside)
    inputs = tiny_inputs(4, 8)
    [got], wanted = RUNTIME.load(spec(exported(17), "bfloat16"), 2).predict(inputs), original(exported(17), inputs)
    assert got.dtype == np.float32
    assert 0 < np.abs(got - wanted).max() < 0.1


def test_settings_of_nncf_change_what_is_made(exported, quantized, tmp_path):
    variants = {
        "plain": {},
        "performance": {"preset": "performance"},
        "unsmoothed": {"smooth_quant_alpha": 0},
        "half": {"smooth_quant_alpha": 0.5},
    }
    paths = {name: int8(exported(17), tmp_path / name / "model.xml", **args) for name, args in variants.items()}
    graphs = {name: with_nncf.computation_hash(with_nncf.read(path)) for name, path in paths.items()}
    assert len(set(graphs.values())) == len(variants)
    assert graphs["plain"] == with_nncf.computation_hash(with_nncf.read(quantized))
    assert sha256(paths["plain"]) == sha256(quantized)
    assert "int8" in with_nncf.chosen(with_nncf.read(paths["performance"]))["activation_type"].split("/")


TWICE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.integration.test_openvino import int8
for name in ("once", "again"):
    int8(Path(sys.argv[2]), Path(sys.argv[3]) / name / "model.xml")
"""


@pytest.mark.slow
def test_writing_is_deterministic_across_and_within_processes(exported, quantized, tmp_path):
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        run = [sys.executable, "-c", TWICE, str(root), str(exported(17)), str(tmp_path / seed)]
        subprocess.run(run, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for name in ("once", "again"):
            assert sha256(tmp_path / seed / name / "model.xml") == sha256(quantized)


def test_the_hash_of_a_computation_knows_weights_but_no_names(quantized, tmp_path):
    model = with_nncf.read(quantized)
    wanted = with_nncf.computation_hash(model)
    for number, node in enumerate(model.get_ordered_ops()):
        node.set_friendly_name(f"other {number}")
    assert with_nncf.computation_hash(model) == wanted
    shutil.copy(quantized, tmp_path)
    weights = bytearray(quantized.with_suffix(".bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "model.bin").write_bytes(weights)
    assert with_nncf.computation_hash(with_nncf.read(tmp_path / "model.xml")) != wanted


def test_static_products_of_our_own_placement_run_in_int8(exported, tmp_path):
    graph = Graph.read(exported(17))
    tensors = list(grouped(find_products(graph)))
    statistics = collect(exported(17), tensors, len(LENGTHS), sample, 1, lambda _: None)
    settings = Settings(
        task="token-classification",
        model_name_or_path="m",
        dataset=Dataset(path="d"),
        quantization_approach="mixed",
        per_channel=True,
        placement={"default": "static", "matmuls": {"*classifier*": "float"}},
    )
    path = tmp_path / "model.onnx"
    write_mixed(exported(17), settings, "int8", [], statistics, path)
    executed = RUNTIME.executed(spec(path), tmp_path)
    assert sum(count for name, count in executed.items() if RUNTIME.is_integer(name)) == PROJECTIONS - 1
    [got], wanted = RUNTIME.load(spec(path), 2).predict(tiny_inputs(4, 8)), original(exported(17), tiny_inputs(4, 8))
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 0.3 * wanted.std(), (
        "0.21 where the CPU has no VNNI and sums saturate"
    )


def test_session_options_reach_the_session_of_onnx_runtime(exported):
    options = {
        "optimization_level": 99,
        "session_options": {
            "allow_spinning": False,
            "dynamic_block_base": 4,
            "denormal_as_zero": True,
            "disable_prepacking": True,
            "enable_cpu_mem_arena": False,
            "enable_mem_pattern": False,
        },
    }
    arm = ArmSpec(runtime="onnxruntime", path=str(exported(17)), sha256="", options=options)
    got = registry.runtime("onnxruntime").load(arm, 1).session.get_session_options()
    entries = {
        "session.intra_op.allow_spinning": "0",
        "session.dynamic_block_base": "4",
        "session.set_denormal_as_zero": "1",
        "session.disable_prepacking": "1",
        "session.force_spinning_stop": "1",
    }
    assert {name: got.get_session_config_entry(name) for name in entries} == entries
    assert (got.enable_cpu_mem_arena, got.enable_mem_pattern) == (False, False)


def test_the_threads_are_those_asked_for(exported):
    for threads in (1, min(2, detect().cores)):
        compiled = RUNTIME.load(spec(exported(17)), threads).compiled
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert compiled.get_property("NUM_STREAMS") == 1
        assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_a_deployed_model_is_loaded_by_the_code_that_it_is_timed_by(exported):
    """A runtime's own sessions come from the file that is laid beside a deployed model, properties and all."""
    for name in ("openvino", "onnxruntime", "pytorch"):
        runtime = registry.runtime(name)
        assert Path(runtime.SERVED.__file__).parent.name == "served"
    assert type(RUNTIME.load(spec(exported(17)), 1)).__module__ == RUNTIME.SERVED.__name__


def test_a_waiting_session_uses_no_cpu(exported):
    session = RUNTIME.load(spec(exported(17)), detect().cores)
    call = session.prepare(tiny_inputs(4, 64))
    for _ in range(20):
        call()
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


CAPPED = """
import json, sys
from pathlib import Path
import numpy as np
from quantbench.plugins import registry
from quantbench.system import environment, instruction_sets
from quantbench.schema.results import ArmSpec
instruction_sets.cap(sys.argv[1], environment.detect())
runtime = registry.runtime("openvino")
spec = ArmSpec(runtime="openvino", path=sys.argv[2], sha256="", options={"precision": sys.argv[3]})
session = runtime.load(spec, 1)
session.predict({name: np.ones((4, 64), dtype=np.int64) for name in session._names})
about = [node.get_rt_info() for node in session.compiled.get_runtime_model().get_ops()]
pairs = {(item["layerType"].astype(str), item["primitiveType"].astype(str)) for item in about}
print(json.dumps([sorted(pairs), runtime.executed(spec, Path("."))]))
"""


def capped(level: str, path: Path, precision: str = "float32"):
    run = [sys.executable, "-c", CAPPED, level, str(path), precision]
    return json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not HAS_AVX512, reason="only a host with more can be capped")
def test_products_in_int8_use_no_more_than_the_cap(exported, quantized):
    kernels, executed = capped("avx2", quantized)
    products = [kernel for layer, kernel in kernels if layer in ("FullyConnected", "MatMul", "Softmax", "Subgraph")]
    assert products
    assert not [name for name in products if "avx512" in name or "amx" in name]
    assert sum(count for name, count in executed.items() if RUNTIME.is_integer(name)) >= PROJECTIONS
    _, executed = capped("avx512_vnni", exported(17), "bfloat16")
    assert executed["FullyConnected [bf16]"] == PROJECTIONS, "emulated, as the note says"
    try:  # depending on the CPU there is no kernel, or float32 in its place: neither is what was asked for
        _, executed = capped("avx2", exported(17), "bfloat16")
    except subprocess.CalledProcessError:
        executed = {}
    assert "FullyConnected [bf16]" not in executed, "which is why a rule refuses it"


def test_the_deployed_script_compiles_with_what_was_timed(exported, tmp_path, monkeypatch):
    """Without hyper-threading among the properties the latency hint halves the threads where cores have two."""
    asked = []
    compile_model = openvino.Core.compile_model

    def compiled(core, model, device, properties):
        asked.append(properties)
        return compile_model(core, model, device, properties)

    monkeypatch.setattr(openvino.Core, "compile_model", compiled)
    timed = spec(exported(17))
    RUNTIME.load(timed, 2)
    settings = Settings(
        task="token-classification",
        model_name_or_path="model",
        dataset=Dataset(path="data"),
        framework="openvino",
        quantization_approach="none",
    )
    deploy.parts(settings)["runtime"].load(timed.path, RUNTIME.options(settings), 2)
    assert asked[0] == asked[1]
    assert asked[0]["INFERENCE_NUM_THREADS"] == 2
    assert asked[0]["ENABLE_HYPER_THREADING"] is True
    assert asked[0]["ENABLE_CPU_PINNING"] is False

"""Whole runs with frameworks beside ONNX Runtime through the command: files, arms, card and summary."""

import json

import pytest
from tests.integration.conftest import write_tiny_config
from tests.support.command import quantbench

from quantbench.system.environment import detect
from quantbench.system.files import file_sha256

PLAIN = {"operators_to_quantize": ["MatMul"]}
BFLOAT16 = {"precision": "bfloat16"}


def documents(folder):
    found = [json.loads(path.read_text()) for path in (folder / "results").iterdir()]
    return {document["run"]["name"]: document for document in found}


def runs_by_name(folder):
    return {run["name"]: run for run in json.loads((folder / "summary.json").read_text())["runs"]}


def run_in(folder, tiny, **changes):
    config = write_tiny_config(tiny, folder / "tiny.yaml", **{**PLAIN, **changes})
    done = quantbench("run", config, "--out", folder / "out", "-v", cwd=folder, QUANTBENCH_CACHE=str(folder / "cache"))
    assert done.returncode == 0, done.stderr
    return done, folder / "out"


@pytest.fixture(scope="module")
def static(tiny, tmp_path_factory):
    """Static int8 by ONNX Runtime and by NNCF in one benchmark; standard error and folder."""
    done, out = run_in(tmp_path_factory.mktemp("static"), tiny, benchmarked={"framework": ["onnxruntime", "openvino"]})
    return done.stderr, done.stdout, out


@pytest.fixture(scope="module")
def lowered(tiny, tmp_path_factory):
    """bfloat16 by OpenVINO and by PyTorch beside float32 by OpenVINO."""
    done, out = run_in(
        tmp_path_factory.mktemp("lowered"),
        tiny,
        quantization_approach="none",
        benchmarked={"framework": ["openvino", "pytorch"], "framework_args.precision": ["float32", "bfloat16"]},
    )
    return done, out


@pytest.mark.slow
def test_frameworks_share_one_original_and_have_float_exports_of_their_own(static):
    stderr, _, out = static
    for text in ("Exporting to ONNX", "Evaluating the original", "Timing 6 arms"):
        assert stderr.count(text) == 1, text
    assert stderr.count("Evaluating the float export") == 2
    arms = {name: one["latency"][0]["arms"] for name, one in documents(out).items()}
    first, second = arms["framework-onnxruntime"], arms["framework-openvino"]
    assert first["pytorch"] == second["pytorch"]
    assert first["null"] == second["null"]
    assert first["onnx-float"] != second["onnx-float"]


@pytest.mark.slow
def test_the_ir_can_be_deployed_from_its_folder(static):
    import openvino
    from transformers import AutoTokenizer

    folder = static[2] / "models/framework-openvino"
    names = {path.name for path in folder.iterdir()}
    assert {"model.xml", "model.bin", "config.json", "tokenizer.json", "quantbench.json"} <= names
    assert "model.onnx" not in names
    inputs = AutoTokenizer.from_pretrained(str(folder))(["one", "and another one"], padding=True, return_tensors="np")
    model = openvino.Core().compile_model(str(folder / "model.xml"), "CPU")
    known = {name for item in model.inputs for name in item.get_names()}
    logits = model({name: array for name, array in inputs.items() if name in known})[0]
    config = json.loads((folder / "config.json").read_text())
    assert logits.shape == (*inputs["input_ids"].shape, len(config["id2label"]))


@pytest.mark.slow
def test_the_artifact_is_both_files_of_the_ir(static):
    out = static[2]
    folder = out / "models/framework-openvino"
    artifact = runs_by_name(out)["framework-openvino"]["artifact"]
    assert artifact["path"] == "models/framework-openvino/model.xml"
    assert artifact["bytes"] == sum((folder / name).stat().st_size for name in ("model.xml", "model.bin"))
    assert artifact["sha256"] not in [file_sha256(folder / name) for name in ("model.xml", "model.bin")]
    assert artifact["recipe"]["preset"] == "mixed"
    assert artifact["recipe"]["per_channel"] is True
    assert "optimization_level" not in artifact["recipe"]


@pytest.mark.slow
def test_the_card_names_what_each_framework_made_and_executed(static):
    stderr, stdout, out = static
    card = (out / "card.md").read_text()
    [row] = [line for line in card.splitlines() if "'openvino'" in line and "FullyConnected [" in line]
    assert "MatMul" in row
    assert "uint8" in row
    assert "QLinearMatMul" in card
    assert "NNCF chose operators" in card
    assert "OpenVINO's executable graph" in card
    assert "nothing was computed in int8" not in card
    assert f"openvino {detect().versions['openvino']}" in card
    assert "INFO:nncf" not in stdout + stderr
    assert "collection" not in stdout, "NNCF's progress bars"


@pytest.mark.slow
def test_the_loss_of_nncf_is_measured_like_any_other(static):
    one = runs_by_name(static[2])["framework-openvino"]
    assert set(one["metrics"]["f1"]) == {"original", "onnx-float", "optimized"}
    assert one["metrics"]["accuracy"]["onnx-float"] == one["metrics"]["accuracy"]["original"]


@pytest.mark.slow
def test_a_bfloat16_checkpoint_is_written_and_loaded_as_such(lowered):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForTokenClassification

    out = lowered[1]
    name = "framework-pytorch__precision-bfloat16"
    folder = out / "models" / name
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    assert AutoModelForTokenClassification.from_pretrained(str(folder), dtype="auto").dtype == torch.bfloat16
    one = runs_by_name(out)[name]
    assert one["artifact"]["recipe"]["activation_type"] == "bfloat16"
    assert one["artifact"]["bytes"] == (folder / "model.safetensors").stat().st_size
    assert one["artifact"]["same_as"] is None


@pytest.mark.slow
def test_float32_is_what_bfloat16_is_compared_with(lowered):
    out = lowered[1]
    found = documents(out)
    assert set(found) == {
        "framework-openvino__precision-float32",
        "framework-openvino__precision-bfloat16",
        "framework-pytorch__precision-bfloat16",
    }
    plain = found["framework-openvino__precision-float32"]["latency"][0]["arms"]
    half = found["framework-openvino__precision-bfloat16"]["latency"][0]["arms"]
    assert half["onnx-float"] == plain["onnx-float"] == plain["optimized"], "one arm, timed once"
    assert half["optimized"] != plain["optimized"]
    runs = runs_by_name(out)
    assert runs["framework-openvino__precision-float32"]["artifact"]["same_as"].startswith("the original")
    assert runs["framework-openvino__precision-bfloat16"]["artifact"]["same_as"] is None
    for one in runs.values():
        assert one["metrics"]["f1"]["onnx-float"] == one["metrics"]["f1"]["original"]
    card = (out / "card.md").read_text()
    assert "is the original itself" in card, "pytorch in float32 is skipped with its reason"
    assert "bfloat16, bfloat16" in card
    assert "* **calibration**" not in card


@pytest.mark.slow
def test_our_own_placement_runs_in_openvino(tiny, tmp_path):
    _, out = run_in(
        tmp_path, tiny, quantization_approach="mixed", placement={"default": "static"}, framework="openvino"
    )
    [one] = runs_by_name(out).values()
    assert one["artifact"]["path"].endswith("model.onnx")
    assert any(name.endswith(("[u8]", "[i8]")) for name in one["artifact"]["executed"])


@pytest.mark.slow
def test_session_options_are_what_is_scored_and_timed(tiny, tmp_path):
    _, out = run_in(
        tmp_path,
        tiny,
        framework_args={"session_options": {"dynamic_block_base": 4}},
        benchmarked={"framework_args.session_options.allow_spinning": [True, False]},
    )
    runs = runs_by_name(out)
    assert runs["allow_spinning-true"]["artifact"]["sha256"] == runs["allow_spinning-false"]["artifact"]["sha256"]
    arms = {name: one["latency"][0]["arms"] for name, one in documents(out).items()}
    for name in ("onnx-float", "optimized"):
        assert arms["allow_spinning-true"][name] != arms["allow_spinning-false"][name]
    assert "    * **session_options.dynamic_block_base**: `4`" in (out / "card.md").read_text()
    recipe = runs["allow_spinning-false"]["artifact"]["recipe"]["session_options"]
    assert recipe == {**recipe, "allow_spinning": False, "dynamic_block_base": 4}


HIDDEN = "import sys\nsys.modules['openvino'] = None\n"


def test_a_missing_extra_is_said_before_anything_is_written(tiny, tmp_path):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(HIDDEN)
    config = write_tiny_config(tiny, tmp_path / "tiny.yaml", **PLAIN, framework="openvino")
    done = quantbench("run", config, "--out", tmp_path / "out", cwd=tmp_path, PYTHONPATH=str(tmp_path / "hidden"))
    assert done.returncode == 2
    line = next(n for n, text in enumerate(config.read_text().splitlines(), 1) if text.startswith("framework:"))
    assert f"error: {config}:{line}: framework openvino needs openvino" in done.stderr
    assert "needs the extra: pip install 'quantbench[openvino]'" in done.stderr
    assert not (tmp_path / "out").exists()

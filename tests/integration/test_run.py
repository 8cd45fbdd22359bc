"""Whole runs of a tiny model through the command: what is written, resumed, shared, failed and interrupted."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.integration.conftest import write_tiny_config
from tests.support.command import quantbench
from tests.support.machines import machine
from tests.support.tiny_models import CONLL_LABELS, write_tiny_distilbert
from transformers import AutoTokenizer

import quantbench as qb
from quantbench.config.load import load_config
from quantbench.pipeline import measure
from quantbench.system import environment
from quantbench.system.environment import detect

GROUPS = ["layernorm", "gelu", "residual", "gather", "softmax"]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def runs_by_name(folder):
    return {run["name"]: run for run in summary(folder)["runs"]}


@pytest.fixture
def run(tmp_path):
    def call(config, *arguments):
        return quantbench("run", config, "--out", tmp_path / "out", *arguments, cwd=tmp_path)

    return call


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """One run of a grid of two, capped to avx2, with a fixed shape and real lengths; its configuration and folder."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_tiny_config(
        tiny,
        folder / "tiny.yaml",
        input_lengths=[16, "dataset"],
        backend={"name": "local", "args": {"supported_instructions": "avx2"}},
        benchmarked={"node_exclusion": [[], ["gelu"]]},
    )
    done = quantbench("run", config, "--out", folder / "out", "--only", "*none", cwd=folder)
    assert done.returncode == 0, done.stderr
    return config, folder / "out"


def test_a_model_can_be_deployed_from_its_folder(finished):
    folder = finished[1] / "models/node_exclusion-none"
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    inputs = tokenizer(["a small test", "and a rather longer one"], padding=True, return_tensors="np")
    names = {item.name for item in session.get_inputs()}
    logits = session.run(None, {name: np.asarray(v, dtype=np.int64) for name, v in inputs.items() if name in names})[0]
    config = json.loads((folder / "config.json").read_text())
    assert logits.shape[:1] + logits.shape[2:] == (2, len(config["id2label"]))
    recipe = json.loads((folder / "quantbench.json").read_text())
    assert recipe["settings"]["quantization_approach"] == "static"
    assert recipe["artifact"]["sha256"] == runs_by_name(finished[1])["node_exclusion-none"]["artifact"]["sha256"]


def test_plan_lists_what_is_missing_and_what_is_done(finished, tmp_path):
    done = quantbench("plan", finished[0], "--out", finished[1], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "done     node_exclusion-none" in done.stdout
    assert "run      node_exclusion-gelu" in done.stdout
    assert "1 float export(s), 1 calibration(s)" in done.stdout


def test_the_card_is_rendered_again_from_the_results(finished, tmp_path):
    card = finished[1] / "card.md"
    before = card.read_text()
    card.unlink()
    (finished[1] / "summary.json").unlink()
    done = quantbench("card", finished[1], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert card.read_text() == before
    assert summary(finished[1])["runs"]


def test_real_lengths_are_timed_beside_fixed_ones(finished):
    shapes = summary(finished[1])["runs"][0]["latency"]
    assert [shape["input_length"] for shape in shapes] == [16, "dataset"]
    assert "input length = dataset" in (finished[1] / "card.md").read_text()


def test_a_cap_is_told_and_a_requirement_enforced(finished, tmp_path):
    card = (finished[1] / "card.md").read_text()
    assert "* supported_instructions caps PyTorch and oneDNN; ONNX Runtime" in card
    assert "**Backend args:** `{'supported_instructions': 'avx2'}`" in card
    if "amx_int8" not in detect().instruction_sets:
        amx = "backend.args={supported_instructions: amx}"
        refused = quantbench("run", finished[0], "--set", amx, "--out", tmp_path / "other", cwd=tmp_path)
        assert refused.returncode == 2
        assert "this machine has no amx_int8" in refused.stderr
        assert not (tmp_path / "other").exists()


def test_a_grid_shares_its_work(write_config, run, tmp_path, own_cache):
    config = write_config(
        quantization_approach=None,
        operators_to_quantize=None,
        benchmarked={
            "quantization_approach": ["static", "dynamic"],
            "operators_to_quantize": [["Add"], ["Add", "MatMul"]],
            "node_exclusion": [[], GROUPS],
        },
    )
    done = run(config, "-v")
    assert done.returncode == 0, done.stderr
    runs = summary(tmp_path / "out")["runs"]
    assert len(runs) == 8
    for text in ("Exporting to ONNX", "Collecting ranges", "Evaluating the original", "Evaluating the float export"):
        assert done.stderr.count(text) == 1, text
    results = [json.loads(path.read_text()) for path in (tmp_path / "out/results").iterdir()]
    assert len({json.dumps(r["latency"][0]["arms"]["pytorch"]) for r in results}) == 1, "the original is timed once"
    assert len({json.dumps(r["latency"][0]["arms"]["optimized"]) for r in results}) == 8 - 4 + 2


@pytest.mark.slow
def test_facts_of_the_reference_system_under_dynamic_quantization(write_config, run, tmp_path):
    config = write_config(
        operators_to_quantize=None,
        quantization_approach="dynamic",
        benchmarked={"operators_to_quantize": [["Add"], ["Add", "MatMul"]], "node_exclusion": [[], GROUPS]},
    )
    assert run(config).returncode == 0
    runs = summary(tmp_path / "out")["runs"]
    for one in runs[:2]:
        assert one["artifact"]["operators"] == {}
        assert one["artifact"]["same_as"] == "the original (nothing was quantized)"
        assert all(value["optimized"] == value["onnx-float"] for value in one["metrics"].values())
    assert runs[2]["artifact"]["operators"]["MatMul"] > 0
    assert runs[3]["artifact"]["same_as"] == runs[2]["name"]
    assert runs[3]["metrics"] == runs[2]["metrics"]


def test_a_failing_run_is_a_row_and_the_others_go_on(write_config, run, tmp_path):
    model = write_tiny_distilbert(tmp_path / "relu", CONLL_LABELS, activation="relu")
    config = write_config(model_name_or_path=str(model), benchmarked={"node_exclusion": [[], ["gather"], ["gelu"]]})
    done = run(config)
    assert done.returncode == 3, done.stderr
    runs = runs_by_name(tmp_path / "out")
    assert runs["node_exclusion-none"]["status"] == "done"
    assert runs["node_exclusion-gelu"]["status"] == "failed"
    assert "gelu" in runs["node_exclusion-gelu"]["reason"]
    assert "## Failed runs" in (tmp_path / "out/card.md").read_text()


def test_a_container_too_small_for_all_processes_at_once_is_told_before(write_config, tmp_path, monkeypatch):
    files = {"/proc/cpuinfo": Path("/proc/cpuinfo").read_text(), "/sys/fs/cgroup/memory.max": str(2**30)}
    container = detect(machine(tmp_path / "container", files))
    monkeypatch.setattr(environment, "detect", lambda: container)
    monkeypatch.setattr(measure, "time_arms", lambda *_: pytest.fail("nothing is to be started that cannot fit"))
    with pytest.raises(qb.BadInput) as refused:
        qb.run(load_config(write_config()), out=tmp_path / "out")
    (mistake,) = refused.value.mistakes
    assert "tiny.yaml:" in mistake.where
    assert re.search(r"timing needs at least 1\.[1-9] GiB .* for 4 processes .* there is 1\.0 GiB", mistake.message)
    assert mistake.message.endswith("batch_sizes: [] leaves timing out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_group_that_matches_nothing_is_an_error_unless_optional(write_config, run, tmp_path):
    config = write_config(framework_args={"opset": 11}, benchmarked={"node_exclusion": [["gelu"], ["gelu?"]]})
    done = run(config, "--set", f"model_name_or_path={_relu_model(tmp_path)}")
    assert done.returncode == 3, done.stderr
    runs = runs_by_name(tmp_path / "out")
    assert "write 'gelu?' to allow that" in runs["node_exclusion-gelu"]["reason"]
    optional = next(run for name, run in runs.items() if name != "node_exclusion-gelu")
    assert optional["status"] == "done"
    assert optional["artifact"]["excluded"] == {"gelu": 0}


def _relu_model(tmp_path):
    from tests.support.tiny_models import CONLL_LABELS, write_tiny_distilbert

    folder = write_tiny_distilbert(tmp_path / "relu", CONLL_LABELS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "activation": "relu"}))
    return folder


@pytest.mark.slow
def test_the_optimization_level_is_what_the_session_runs_with(write_config, run, tmp_path):
    config = write_config(
        framework_args={"opset": 13}, benchmarked={"framework_args.optimization_level": [0, 1, 2, 99]}
    )
    done = run(config)
    assert done.returncode == 0, done.stderr
    for one in summary(tmp_path / "out")["runs"]:
        level = one["parameters"]["framework_args"]["optimization_level"]
        assert any(name.startswith("QLinear") for name in one["artifact"]["executed"]) == (level >= 2)
    card = (tmp_path / "out/card.md").read_text()
    assert card.count("nothing was computed in int8") == 2


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_finished(write_config, tmp_path):
    config = write_config(
        time_benchmark_args={"duration": 3, "warmup_runs": 1, "precision": 0.9},
        benchmarked={"node_exclusion": [[], ["gelu"]]},
    )
    out = tmp_path / "out"
    first = quantbench("run", config, "--out", out, "--only", "*none", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "quantbench", "run", str(config), "--out", str(out)],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where make runs in the background it is ignored
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Timing"):
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "finished and kept" in rest
    assert [run["status"] for run in summary(out)["runs"]] == ["done"]
    assert (out / "card.md").exists()


@pytest.mark.slow
def test_the_configuration_beside_the_card_repeats_the_benchmark(write_config, run, tmp_path):
    assert run(write_config(benchmarked={"calibration.method": ["minmax", "percentile"]})).returncode == 0
    again = quantbench("run", tmp_path / "out/config.yaml", "--out", tmp_path / "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    first, second = runs_by_name(tmp_path / "out"), runs_by_name(tmp_path / "again")
    assert {name: (run["key"], run["metrics"]) for name, run in first.items()} == {
        name: (run["key"], run["metrics"]) for name, run in second.items()
    }
    assert all(first[name]["artifact"]["sha256"] == second[name]["artifact"]["sha256"] for name in first)
    compared = quantbench("compare", tmp_path / "out", tmp_path / "again", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "+0.0000 (+0.0000 to +0.0000)" in compared.stdout


@pytest.mark.slow
def test_changed_data_does_not_mix_with_stored_results(write_config, run, tmp_path, tiny):
    import shutil

    copy = tmp_path / "data"
    shutil.copytree(tiny / "data" / "conll2003", copy)
    config = write_config(benchmarked={"node_exclusion": [[], ["gelu"]]})
    changes = ("--set", f"dataset.path={copy}")
    assert run(config, "--only", "*none", *changes).returncode == 0
    shutil.copy(copy / "train/0000.parquet", copy / "validation/0000.parquet")
    done = run(config, *changes)
    assert done.returncode == 2
    assert "changed since the stored results" in done.stderr


def test_env_names_the_machine(tmp_path):
    done = quantbench("env", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("CPU", "instruction sets", "usable CPUs", "onnxruntime", "torch"):
        assert word in done.stdout


def test_help_teaches(tmp_path):
    for command in ((), ("run",), ("plan",), ("card",), ("demo",), ("env",)):
        done = quantbench(*command, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "Usage" in done.stdout


@pytest.mark.slow
def test_env_check_measures_the_noise_floor(tmp_path):
    done = quantbench("env", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("governor", "turbo", "hyper-threads", "load", "steal", "CPU limit", "noise floor"):
        assert word in done.stdout
    assert re.search(r"held-up slots\W+\d+ of \d+", done.stdout)

"""A runtime, its int8 quantizer and a task of another package, known by entry points only, through every command.

The package is ``tests/plugins/toys``, beside it the folder that an installation would have made.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.integration.conftest import write_tiny_config
from tests.support.command import quantbench
from tests.support.tiny_tasks import write_texts

INSTALLED = str(Path(__file__).parents[1] / "plugins")
WITH_TOYS = {"PYTHONPATH": os.pathsep.join(filter(None, [INSTALLED, os.environ.get("PYTHONPATH")]))}
TIMING = {"duration": 1.0, "warmup_runs": 1, "precision": 0.9}


def with_toys(*arguments, cwd):
    done = quantbench(*arguments, cwd=cwd, **WITH_TOYS)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Folder with two benchmarks of the toy runtime, with and without int8."""
    folder = tmp_path_factory.mktemp("toys")
    config = write_tiny_config(
        tiny,
        folder / "toy.yaml",
        framework="toy",
        quantization_approach=None,
        operators_to_quantize=["MatMul"],
        framework_args={"opset": 17, "repeats": 2},
        time_benchmark_args=TIMING,
        benchmarked={"quantization_approach": ["dynamic", "none"]},
    )
    for name in ("first", "second"):
        with_toys("run", config, "--out", folder / name, cwd=folder)
    return folder


def results(folder):
    return {path.stem: json.loads(path.read_text()) for path in (folder / "results").glob("*.json")}


def test_the_toy_makes_runs_and_records_int8(whole):
    found = {result["run"]["name"]: result for result in results(whole / "first").values()}
    assert set(found) == {"quantization_approach-dynamic", "quantization_approach-none"}
    int8 = found["quantization_approach-dynamic"]["artifact"]
    assert int8["path"].endswith("toy.onnx")
    assert int8["operators"]["MatMul"] >= 12
    assert int8["executed"]["Cast [int8]"] == int8["operators"]["MatMul"]
    assert int8["bytes"] < found["quantization_approach-none"]["artifact"]["bytes"]
    for result in found.values():
        assert result["environment"]["versions"]["toys"] == "1.0"
        assert set(result["scores"]) == {"original", "onnx-float", "optimized"}
        assert result["latency"]
        assert result["run"]["settings"]["framework_args"] == {"opset": 17, "precision": "float32", "repeats": 2}


def test_the_card_says_what_the_toy_says_of_itself(whole):
    card = (whole / "first" / "card.md").read_text()
    assert "toys 1.0" in card
    assert "The toy rounds weights only." in card
    assert "The toy is slow." in card
    assert '"executed" in the nodes of the file, which the toy computes one by one' in card
    assert "Cast [int8]" in card
    assert "nothing was computed in int8" not in card
    assert "    * **repeats**: `2`" in card
    assert "repeats: 2" in (whole / "first" / "config.yaml").read_text()


def test_two_folders_of_the_toy_are_compared(whole):
    told = with_toys("compare", whole / "first", whole / "second", cwd=whole)
    assert "quantization_approach-dynamic" in told
    assert "+0.0000 (+0.0000 to +0.0000)" in told


@pytest.mark.slow
def test_tune_tries_what_the_toy_proposes_and_deploys_it(tiny, tmp_path):
    config = write_tiny_config(tiny, tmp_path / "tiny.yaml", time_benchmark_args=TIMING, batch_sizes=[1])
    with_toys("tune", config, "--out", tmp_path / "out", "--max-drop", "f1=0.5", "--only", "toy-*", cwd=tmp_path)
    probes = json.loads((tmp_path / "out" / "tuning.json").read_text())["probes"]
    assert set(probes) == {"onnx-float", "toy-int8", "toy-float32"}
    report = (tmp_path / "out" / "tune.md").read_text()
    assert "toy-int8" in report


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_channel": True}, "the toy has one scale for all channels; set per_channel: false"),
        ({"framework_args": {"precision": "bfloat16"}}, "the toy computes in float32 only"),
        ({"framework_args": {"optimization_level": 1}}, "belongs to framework onnxruntime, not toy"),
        ({"quantization_approach": "static"}, "framework toy has no models of quantization_approach static, only"),
        ({"framework_args": {"repeats": 10}}, "framework_args.repeats is 10; must be less than or equal to 9"),
        ({"framework_args": {"repeats": "twice"}}, 'framework_args.repeats is "twice"; must be a whole number'),
        ({"framework_args": {"repeat": 2}}, "did you mean 'framework_args.repeats'?"),
        ({"framework_args": {"repeats": 2}, "framework": "onnxruntime"}, "belongs to framework toy, not onnxruntime"),
        ({"benchmarked": {"framework_args.repeats": [1, 0]}}, "framework_args.repeats is 0; must be greater than 0"),
        ({"task_args": {"worth": 2}}, "task_args.worth belongs to task toy-topics, not token-classification"),
    ],
)
def test_the_rules_of_the_toy_are_asked(tiny, tmp_path, changes, message):
    config = write_tiny_config(
        tiny, tmp_path / "toy.yaml", **{"framework": "toy", "quantization_approach": "dynamic", **changes}
    )
    refused = quantbench("plan", config, cwd=tmp_path, **WITH_TOYS)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "toy.yaml:" in refused.stderr


def test_without_its_entry_points_there_is_no_toy(tiny, tmp_path):
    config = write_tiny_config(tiny, tmp_path / "toy.yaml", framework="toy")
    refused = quantbench("plan", config, cwd=tmp_path)
    assert refused.returncode == 2
    assert "unknown framework 'toy'" in refused.stderr


def test_the_toy_keeps_the_protocols(tmp_path):
    """The conformance tests, with the toys among the plug-ins."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/unit/test_conformance.py"]
    done = subprocess.run(
        [*command, "-k", "toy and not weights"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **WITH_TOYS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout, "the toys are among the plug-ins that are looked at"


def test_a_task_of_another_package_is_scored_by_its_own_metric(tmp_path):
    settings = {**write_texts(tmp_path), "task": "toy-topics", "quantization_approach": "dynamic"}
    settings["task_args"] = {"worth": 0.5}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(settings))
    with_toys("run", "toy.yaml", "--out", "out", cwd=tmp_path)
    [result] = results(tmp_path / "out").values()
    for scores in result["scores"].values():
        assert scores["columns"] == ["hit"]
        assert scores["metrics"] == {"hits": sum(row[0] for row in scores["outcomes"]) / 40}
        assert {row[0] for row in scores["outcomes"]} == {0, 0.5}, "a hit is worth what was asked for"
    card = (tmp_path / "out" / "card.md").read_text()
    assert "hits (optimized)" in card
    assert "* **task_args**:\n    * **worth**: `0.5`" in card

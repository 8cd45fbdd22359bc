"""The embedded model and data: what the demo shows, and the facts of the reference system on a real model."""

import json

import pytest
from tests.support.command import quantbench

from quantbench import embedded

CALIBRATION = "calibration={method: minmax, num_calibration_samples: 25, sampling: strided, stride: 4}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The demo's grid with and without padding, on part of the data; runs by (padding, whether groups are excluded)."""
    folder = tmp_path_factory.mktemp("demo")
    done = quantbench(
        "demo", "-q", "--out", folder / "out", "--set", CALIBRATION,
        "--set", "benchmarked.calibration.padding=[max_length, none]", "--set", "max_eval_samples=400",
        "--set", "time_benchmark_args={duration: 0.2, warmup_runs: 1, precision: 0.9}", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "card:" in done.stdout
    rows = json.loads((folder / "out/summary.json").read_text())["runs"]
    return {(r["parameters"]["calibration"]["padding"], bool(r["parameters"]["node_exclusion"])): r for r in rows}


def f1(run, arm="optimized"):
    return run["metrics"]["f1"][arm]


def test_the_float_export_scores_as_the_original(runs):
    for run in runs.values():
        assert f1(run, "onnx-float") == pytest.approx(f1(run, "original"), abs=1e-3)
    assert f1(runs["none", False], "original") > 0.6


def test_padded_calibration_collapses_further_than_unpadded(runs):
    assert f1(runs["max_length", False]) < f1(runs["none", False]) - 0.2


def test_the_five_groups_mend_the_loss(runs):
    padded, mended = runs["max_length", False], runs["max_length", True]
    lost = f1(padded, "original") - f1(padded)
    assert f1(mended) - f1(padded) > 0.8 * lost


def test_every_group_is_found_and_int8_is_really_computed(runs):
    run = runs["max_length", True]
    assert run["artifact"]["excluded"] == {"layernorm": 117, "gelu": 30, "residual": 12, "gather": 5, "softmax": 12}
    assert run["artifact"]["executed"]["QLinearMatMul"] == run["artifact"]["operators"]["MatMul"] > 40


def test_the_model_card_gives_its_measured_score_and_its_sources():
    card = (embedded.MODEL / "README.md").read_text()
    assert "0.7227" in card
    for source in ("UNER English EWT", "Wikigold", "Broad Twitter Corpus", "CC BY-SA 4.0", "Apache-2.0"):
        assert source in card
    assert len(list((embedded.MODEL.parent / "licenses").iterdir())) == 5

"""The embedded model and data: what the demo shows, and the facts of the reference system on a real model."""

import json
import random

import onnx
import pytest
from tests.support import stages
from tests.support.command import quantbench

from quantbench import embedded
from quantbench.diagnose.run import diagnose
from quantbench.pipeline.arms import arm
from quantbench.quantize.fake_quant import restored
from quantbench.reports import _why
from quantbench.results.store import Store
from quantbench.system.files import file_sha256

pytestmark = pytest.mark.slow
CALIBRATION = "calibration={method: minmax, num_calibration_samples: 25, sampling: strided, stride: 4}"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Output folder of the demo's grid with and without padding, on part of the data."""
    folder = tmp_path_factory.mktemp("demo")
    done = quantbench(
        "demo", "-q", "--out", folder / "out", "--set", CALIBRATION,
        "--set", "benchmarked.calibration.padding=[max_length, none]", "--set", "max_eval_samples=400",
        "--set", "time_benchmark_args={duration: 0.2, warmup_runs: 1, precision: 0.9}", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "card:" in done.stdout
    return folder / "out"


@pytest.fixture(scope="module")
def runs(out):
    """Rows of the summary by (padding, whether groups are excluded)."""
    rows = json.loads((out / "summary.json").read_text())["runs"]
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


@pytest.fixture(scope="module")
def padded(out):
    """Result and diagnosis of the padded run with nothing excluded, and a function from tensors to F1.

    The function leaves these activations of the int8 file in float and evaluates it.
    """
    result = next(
        result
        for result in Store(out).results()
        if result.run.settings.calibration.padding == "max_length" and not result.run.settings.node_exclusion
    )
    context = stages.context_at(Store(out).cache)
    path = out / result.artifact.path
    settings = result.run.settings

    def f1_with(tensors):
        changed = out / "restored.onnx"
        onnx.save(restored(onnx.load(path), tensors), changed)
        spec = arm("onnxruntime", changed, file_sha256(changed), settings)
        return stages.scores(spec, settings, context).metrics["f1"]

    return result, diagnose(result.run, path, context), f1_with


def test_the_tensors_at_fault_alone_bring_the_score_back_and_others_do_not(padded):
    result, found, f1_with = padded
    scores = {arm: result.scores[arm].metrics["f1"] for arm in ("original", "optimized")}
    lost = scores["original"] - scores["optimized"]
    assert f1_with(()) == pytest.approx(scores["optimized"])
    guilty = [fault.tensor.name for fault in found.faults]
    assert f1_with(guilty) - scores["optimized"] > 0.8 * lost
    others = [tensor for tensor in found.tensors if tensor.name not in guilty]
    draws = [random.Random(seed).sample(others, len(guilty)) for seed in range(3)]
    noisiest = sorted((t for t in others if t.decibels is not None), key=lambda tensor: tensor.decibels)
    for chosen in [*draws, noisiest[: len(guilty)]]:
        assert f1_with([tensor.name for tensor in chosen]) - scores["optimized"] < 0.2 * lost


def test_the_mask_of_padded_samples_destroys_the_model_and_softmax_alone_saves_it(padded):
    result, found, _ = padded
    assert found.rounded.changed == pytest.approx(found.file.changed, abs=0.1)
    for fault in found.faults:
        assert fault.tensor.name.endswith("attention/self/Add_output_0")
        assert [cause.kind for cause in fault.causes[:2]] == ["constant", "padding"]
        assert fault.causes[0].value < -1e38
        assert fault.peak.padded
        assert fault.tensor.levels == 1
        assert fault.freed_by == ("softmax",)
    left = {item.value: item.recovered for item in found.remedies}
    assert left["[softmax]"] > 0.8
    assert left["none"] > 0.8
    assert max(left[f"[{group}]"] for group in ("gather", "gelu", "layernorm", "residual")) < 0.2
    assert left["percentile"] < 0.2
    text = _why.render(found, result)
    assert "`node_exclusion: [softmax]` alone saves the model" in text
    assert "at padded positions of the calibration samples" in text


def test_the_model_card_gives_its_measured_score_and_its_sources():
    card = (embedded.MODEL / "README.md").read_text()
    assert "0.7227" in card
    for source in ("UNER English EWT", "Wikigold", "Broad Twitter Corpus", "CC BY-SA 4.0", "Apache-2.0"):
        assert source in card
    assert len(list((embedded.MODEL.parent / "licenses").iterdir())) == 5

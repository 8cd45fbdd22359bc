"""What is told of judged files: verdicts by intervals, tables, reasons and figures as JSON."""

import json
from pathlib import Path

import pytest
from tests.support.example_results import reference_config, reference_results

from quantbench.analysis.intervals import Interval
from quantbench.cli_check import parted
from quantbench.pipeline.judge import Judged, verdict
from quantbench.pipeline.timed_files import Times
from quantbench.quantize.contents import Contents
from quantbench.reports import _check
from quantbench.reports._check import Found
from quantbench.schema.results import Scores

SCORES = Scores(metrics={"accuracy": 0.9, "f1": 0.8}, examples=100, changed=3, columns=("a",), outcomes=((1,),) * 100)
CONTENTS = Contents({"MatMul": 12}, {"Gather": 1}, 24, False, {"float32": 3_000_000, "int8": 1_000_000})
LIMITS = {"accuracy": 0.01, "f1": 0.02}


def judged(path, accuracy, f1=(0.0, 0.0, 0.0), **more):
    differences = {"accuracy": Interval(*accuracy), "f1": Interval(*f1)}
    about = {"bytes": 4_000_000, "runtime": "onnxruntime", "contents": CONTENTS, "original": SCORES, "scores": SCORES}
    return Judged(Path(path), verdict(differences, LIMITS), differences=differences, **{**about, **more})


@pytest.fixture
def found():
    latency = reference_results(reference_config())[0].latency[0]
    original, file = latency.arms["pytorch"], latency.arms["optimized"]
    timed = latency.model_copy(update={"arms": {"pytorch": original, "null": original, "0": file}})
    files = [
        judged("first/model.onnx", (0.0, -0.004, 0.002)),
        judged("second/model.onnx", (-0.02, -0.05, 0.001), executed={"QGemm": 2, "Softmax": 1}),
        judged("bad.onnx", (-0.3, -0.4, -0.2), (-0.5, -0.6, -0.4), executed={"MatMul": 12}),
        Judged(Path("gone.pb"), "does not load", "is a file of TensorFlow", bytes=2),
    ]
    return Found(files, Times((timed,), {1: "it hung"}), {2: "nobody knows"}, SCORES, LIMITS, 0.02, "model on data")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.004, 0.002, "keeps"),
        (0.0, 0.0, "keeps"),
        (-0.01, 0.0, "keeps"),
        (-0.011, 0.02, "undecided"),
        (-0.05, -0.011, "worse"),
        (0.02, 0.03, "keeps"),
    ],
)
def test_the_whole_interval_decides(low, high, expected):
    assert verdict({"accuracy": Interval((low + high) / 2, low, high)}, {"accuracy": 0.01}) == expected


def test_one_metric_beyond_its_limit_is_enough():
    differences = {"accuracy": Interval(0, 0, 0), "f1": Interval(-0.5, -0.6, -0.4)}
    assert verdict(differences, LIMITS) == "worse"
    assert verdict(differences, {"accuracy": 0.01}) == "keeps"


def test_tables_name_files_and_say_what_decides(found):
    text = _check.markdown(found)
    assert text.startswith("# model on data\n")
    assert "most that may be lost: accuracy 0.01, f1 0.02" in text
    assert "first/model.onnx" in text and "second/model.onnx" in text  # of the same name
    assert "+0.0000 (-0.0040 to +0.0020)" in text and "3 of 100" in text
    assert "MatMul 12 (fixed ranges); weights alone: Gather 1" in text
    assert "accuracy may have lost 0.05: score more examples" in text
    assert "its session runs QGemm 2" in text
    assert "its session computes in float, rounding in between" in text
    assert "does not load: is a file of TensorFlow" in text
    assert "not timed: it hung" in text
    assert "Why bad.onnx loses what it loses is not known: nobody knows." in text
    plain = _check.text(found)
    assert all(verdict in plain for verdict in ("keeps", "undecided", "worse", "does not load"))


def test_figures_are_json(found):
    document = json.loads(json.dumps(_check.data(found)))
    first, second, bad, gone = document["files"]
    assert first["differences"]["accuracy"] == {"value": 0.0, "low": -0.004, "high": 0.002}
    assert first["speed"][0]["speedup"] > 0
    assert (second["not_timed"], bad["cause"], gone["changed"]) == ("it hung", "nobody knows", None)
    assert first["quantized"]["weights_bytes"]["int8"] == 1_000_000


@pytest.mark.parametrize(
    ("words", "files", "data"),
    [
        (["a.onnx"], ["a.onnx"], None),
        (["notes.txt"], ["notes.txt"], None),
        (["a.onnx", "b.xml"], ["a.onnx", "b.xml"], None),
        (["a.onnx", "model.pb"], ["a.onnx", "model.pb"], None),
        (["a.onnx", "reviews.csv"], ["a.onnx"], "reviews.csv"),
        (["a.onnx", "glue/sst2"], ["a.onnx"], "glue/sst2"),
        (["a.onnx", "demo"], ["a.onnx"], "demo"),
    ],
)
def test_what_stands_last_and_is_no_model_is_data(words, files, data):
    assert parted(words) == (files, data)

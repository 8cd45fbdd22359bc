"""The card's reference part to the letter, its metadata as the hub reads it, and the whole of it as stored text."""

import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from tests.support.example_results import failed, reference_config, reference_results

from quantbench.config.plan import make_plan
from quantbench.plugins import registry
from quantbench.schema.results import Noise, Skipped

REFERENCE_BLOCK = """\
**task**: `token-classification`  
**Backend:** `local`  
**Backend args:** `{}`  
**Number of evaluation samples:** `All dataset`  

Fixed parameters:
* **model_name_or_path**: `elastic/distilbert-base-uncased-finetuned-conll03-english`
* **dataset**:
    * **path**: `conll2003`
    * **eval_split**: `validation`
    * **data_keys**: `{'primary': 'tokens'}`
    * **ref_keys**: `['ner_tags']`
    * **calibration_split**: `train`
* **quantization_approach**: `static`
* **operators_to_quantize**: `['Add', 'MatMul']`
* **per_channel**: `False`
* **calibration**:
    * **method**: `minmax`
"""
REFERENCE_REST = """\
* **framework**: `onnxruntime`
* **framework_args**:
    * **opset**: `11`
    * **optimization_level**: `1`
* **aware_training**: `False`

Benchmarked parameters:
* **node_exclusion**: `[]`,  `['layernorm', 'gelu', 'residual', 'gather', 'softmax']`

# Evaluation
## Non-time metrics
"""
QUALITY_LINES = """\
|                      node_exclusion                      |     | precision (original) | precision (optimized) |     | recall (original) | recall (optimized) |     | f1 (original) | f1 (optimized) |     | accuracy (original) | accuracy (optimized) |
| :------------------------------------------------------: | :-: | :------------------: | :-------------------: | :-: | :---------------: | :----------------: | :-: | :-----------: | :------------: | :-: | :-----------------: | :------------------: |
| `['layernorm', 'gelu', 'residual', 'gather', 'softmax']` |  \\|  |        0.936         |         0.904         |  \\|  |       0.944       |       0.921        |  \\|  |     0.940     |     0.912      |  \\|  |        0.988        |        0.984         |
|                           `[]`                           |  \\|  |        0.936         |         0.065         |  \\|  |       0.944       |       0.243        |  \\|  |     0.940     |     0.103      |  \\|  |        0.988        |        0.357         |
"""
TIME_HEAD = """\
## Time metrics
Time benchmarks were run for 15 seconds per config.


Below, time metrics for batch size = 4, input length = 64.

"""
TIME_LINES = """\
|                      node_exclusion                      |     | latency_mean (original, ms) | latency_mean (optimized, ms) |     | throughput (original, /s) | throughput (optimized, /s) |
| :------------------------------------------------------: | :-: | :-------------------------: | :--------------------------: | :-: | :-----------------------: | :------------------------: |
| `['layernorm', 'gelu', 'residual', 'gather', 'softmax']` |  \\|  |           114.51            |            53.59             |  \\|  |           8.73            |           18.66            |
|                           `[]`                           |  \\|  |            90.67            |            59.55             |  \\|  |           11.03           |           16.79            |
"""


@pytest.fixture(scope="module")
def config():
    return reference_config()


@pytest.fixture(scope="module")
def card(config):
    return registry.report("card").render(config, reference_results(config), ())


@pytest.mark.parametrize("part", [REFERENCE_BLOCK, REFERENCE_REST, TIME_HEAD])
def test_the_card_has_the_parts_of_the_reference_card_word_for_word(card, part):
    assert part in card


@pytest.mark.parametrize("line", [*QUALITY_LINES.splitlines(), *TIME_LINES.splitlines()])
def test_the_card_has_the_tables_of_the_reference_card_to_the_blank(card, line):
    assert line in card.splitlines()


def test_the_parts_stand_in_the_order_of_the_reference_card(card):
    parts = ["---\npipeline_tag", "**task**", "Fixed parameters:", "Benchmarked parameters:", "# Evaluation"]
    parts += ["## Non-time metrics", "## Time metrics", "# Beyond the reference card"]
    places = [card.index(part) for part in parts]
    assert places == sorted(places)


def test_front_matter_begins_with_the_keys_of_the_reference_card(card):
    front = yaml.safe_load(card.split("---")[1])
    assert list(front)[:4] == ["pipeline_tag", "datasets", "metrics", "tags"]
    assert front["metrics"] == ["precision", "recall", "f1", "accuracy"]
    assert "distilbert" in front["tags"]


def test_the_hub_reads_the_model_index(card):
    data = ModelCard(card).data
    found = {result.metric_name: result.metric_value for result in data.eval_results}
    assert found["f1 (original)"] == 0.94
    assert found["f1 (optimized, node_exclusion=[])"] == 0.103
    assert len(found) == 4 * 3
    result = data.eval_results[0]
    assert (result.task_type, result.dataset_type, result.dataset_split) == (
        "token-classification",
        "conll2003",
        "validation",
    )


def test_the_whole_card_is_as_stored(card, snapshot):
    assert card == snapshot


def test_a_failed_run_has_its_reason_and_no_row(config):
    runs = make_plan(config).runs
    results = [reference_results(config)[0], failed(runs[1])]
    card = registry.report("card").render(config, results, ())
    assert "## Failed runs" in card
    assert "preparation failed: RuntimeError: the quantizer gave up" in card
    assert card.count("     0.940     ") == 1, "one row in the table"


def test_a_card_without_a_finished_run_still_says_why(config):
    results = [failed(run) for run in make_plan(config).runs]
    card = registry.report("card").render(config, results, ())
    assert "No run was finished." in card
    assert card.count("the quantizer gave up") == 2
    assert "model-index" not in card


def test_skipped_combinations_are_told(config):
    skipped = (Skipped(benchmarked={"per_channel": True}, reason="needs opset 13"),)
    assert "* per_channel=`True`: needs opset 13" in registry.report("card").render(config, [], skipped)


def test_runs_that_compute_the_same_say_so(config):
    first, second = reference_results(config)
    same = second.model_copy(update={"artifact": second.artifact.model_copy(update={"graph": first.artifact.graph})})
    card = registry.report("card").render(config, [first, same], ())
    assert f"| {first.run.name} " in card.split("## What was quantized")[1].replace("  ", " ")


def test_a_run_without_int8_kernels_is_told(config):
    first = reference_results(config)[0]
    slow = first.model_copy(update={"artifact": first.artifact.model_copy(update={"executed": {"MatMul": 49}})})
    card = registry.report("card").render(config, [slow], ())
    assert f"* {slow.run.name}: nothing was computed in int8. At optimization level 1" in card


def test_several_shapes_give_a_table_each():
    config = reference_config("batch_sizes=[1, 4]", "input_lengths=[32, 64]")
    card = registry.report("card").render(config, reference_results(config), ())
    for batch_size in (1, 4):
        for length in (32, 64):
            assert f"Below, time metrics for batch size = {batch_size}, input length = {length}." in card


def test_every_varied_key_moves_to_the_benchmarked_parameters():
    config = reference_config("benchmarked.per_channel=[true, false]", "framework_args.opset=13")
    card = registry.report("card").render(config, reference_results(config), ())
    fixed, _, benchmarked = card.partition("Benchmarked parameters:")
    assert "**per_channel**" not in fixed
    assert "* **per_channel**: `True`,  `False`" in benchmarked


def test_the_summary_has_what_programs_need(config):
    document = json.loads(registry.report("summary").render(config, reference_results(config), ()))
    assert document["schema"] == 1
    assert document["environment"]["cpu_model"] == "Example CPU"
    run = document["runs"][1]
    assert run["status"] == "done"
    assert run["reason"] is None
    assert run["metrics"]["f1"] == {"original": 0.94, "onnx-float": 0.94, "optimized": 0.912}
    shape = run["latency"][0]
    assert (shape["batch_size"], shape["input_length"]) == (4, 64)
    assert shape["arms"]["optimized"]["mean_ms"] == pytest.approx(53.59)
    assert shape["arms"]["optimized"]["p50_ms"] == pytest.approx(53.59)
    assert shape["arms"]["pytorch"]["calls"] == 10
    assert shape["arms"]["pytorch"]["calls_per_s"] == pytest.approx(1000 / 114.51)
    assert shape["arms"]["pytorch"]["p90_ms"] is None, "ten samples give no percentile"
    assert run["artifact"]["operators"] == {"Add": 31, "MatMul": 49}
    assert run["artifact"]["excluded"]["gelu"] == 1


def test_the_summary_says_how_sure_each_number_is(config):
    run = json.loads(registry.report("summary").render(config, reference_results(config), ()))["runs"][1]
    speedup = next(s for s in run["latency"][0]["speedup"] if (s["arm"], s["against"]) == ("optimized", "pytorch"))
    assert speedup["low"] <= speedup["ratio"] <= speedup["high"]
    assert speedup["ratio"] == pytest.approx(114.51 / 53.59, rel=1e-3)
    assert speedup["verdict"] == "faster"
    assert run["latency"][0]["noise_floor"] == pytest.approx(0.004, abs=2e-3)
    difference = run["difference"]["f1"]
    assert difference["low"] <= difference["value"] <= difference["high"] < 0
    assert run["changed"] == 2


def test_the_card_says_how_to_read_it_and_gives_intervals(card):
    assert "## How to read this card" in card
    assert "2.137 (2.1" in card
    assert "faster" in card.split("## How much faster")[1].split("## How much is lost")[0]
    lost = card.split("## How much is lost")[1].split("## Latency in detail")[0]
    assert "undecided" in lost or "no" in lost
    assert "20.0 %" in lost


def test_the_card_says_once_what_every_ratio_is(card, config):
    assert card.count("Every speedup is of the machine where nothing else slows it") == 1
    (run, _) = json.loads(registry.report("summary").render(config, reference_results(config), ()))["runs"]
    arms = {name: arm["undisturbed_ms"] for name, arm in run["latency"][0]["arms"].items()}
    for speedup in run["latency"][0]["speedup"]:
        assert speedup["ratio"] == pytest.approx(arms[speedup["against"]] / arms[speedup["arm"]], rel=1e-3)


@pytest.mark.parametrize(("session_ms", "told"), [(40.0, True), (31.0, False)])
def test_a_machine_that_was_busy_all_the_time_is_told(config, session_ms, told):
    noise = Noise(
        ratios=(0.001, -0.001), measured_at="2026-01-01T00:00:00+00:00", fastest_ms=30.0, session_ms=session_ms
    )
    results = [
        result.model_copy(update={"latency": tuple(s.model_copy(update={"noise": noise}) for s in result.latency)})
        for result in reference_results(config)
    ]
    card = registry.report("card").render(config, results, ())
    assert ("the float export reached 75 % at 4 × 64 of its speed" in card) == told
    assert ("75 %" in registry.report("table").render(config, results, ())) == told
    runs = json.loads(registry.report("summary").render(config, results, ()))["runs"]
    assert {run["latency"][0]["machine_speed"] for run in runs} == {30.0 / session_ms}


def test_the_summary_as_stored(config, snapshot):
    assert registry.report("summary").render(config, reference_results(config), ()) == snapshot


def test_the_table_has_a_row_per_run_and_the_reason_of_a_failure(config):
    runs = make_plan(config).runs
    text = registry.report("table").render(config, [reference_results(config)[0], failed(runs[1])], ())
    assert "0.940" in text
    assert "0.103" in text
    assert "the quantizer gave up" in " ".join(text.split())


HEADINGS = re.compile(r"^#+ .*\n(?=\s*(#|\Z))", re.MULTILINE)
"""Headings with nothing below them, but for those that stand above others."""


@pytest.mark.parametrize(
    ("asked", "empty", "gone"),
    [
        ({"batch_sizes": ()}, "latency", ("faster", "noise floor", "Latency in detail")),
        ({"max_eval_samples": 0}, "scores", ("f1", "keeps 99 %", "How much is lost")),
    ],
)
def test_what_was_not_measured_leaves_no_empty_table_or_heading(config, asked, empty, gone):
    without = config.model_copy(update={"base": config.base.model_copy(update=asked)})
    results = [r.model_copy(update={empty: type(getattr(r, empty))()}) for r in reference_results(config)]
    card = registry.report("card").render(without, results, ())
    assert not [name for name in gone if name in card]
    assert "Nothing was " in card
    empty_headings = {heading.group().strip() for heading in HEADINGS.finditer(card)}
    assert empty_headings <= {"# Evaluation", "# Beyond the reference card"}
    assert "No run was finished" not in card
    assert len(json.loads(registry.report("summary").render(without, results, ()))["runs"]) == 2


def test_the_card_says_whose_noise_is_shared_by_other_frameworks():
    config = reference_config("benchmarked.framework_args.opset=[11, 13]")
    noise = Noise(ratios=(0.001, -0.001), measured_at="2026-01-01T00:00:00+00:00", fastest_ms=30.0, session_ms=30.0)
    results = [
        result.model_copy(update={"latency": tuple(s.model_copy(update={"noise": noise}) for s in result.latency)})
        for result in reference_results(config)
    ]
    said = "It was that of onnxruntime, opset 11; what launches of it differ by stands for the other exports"
    assert said in registry.report("card").render(config, results, ())
    same = [result for result in results if result.run.settings.framework_args.opset == 11]
    assert said not in registry.report("card").render(config, same, ())


def test_an_original_that_is_no_checkpoint_is_called_by_what_runs_it():
    config = reference_config()
    results = [result.model_copy(update={"original": "onnxruntime"}) for result in reference_results(config)]
    card = registry.report("card").render(config, results, ())
    assert "optimized over the original (ONNX Runtime)" in card
    assert "| the original (ONNX Runtime) |" in card
    assert "* Original is ONNX Runtime on a file as it was given, onnx-float is the copy of it run in float32" in card
    assert "pytorch" not in card.lower().replace("where that is pytorch", "")
    mixed = registry.report("card").render(config, [results[0], *reference_results(config)[1:]], ())
    assert "optimized over the original (ONNX Runtime or PyTorch)" in mixed
    summary = json.loads(registry.report("summary").render(config, results, ()))
    assert {run["original"] for run in summary["runs"]} == {"onnxruntime"}

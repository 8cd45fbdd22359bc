"""The plan: pure, complete, with keys that depend on settings alone, and without a heavy import."""

import itertools
import json
import math
import random
import re
import subprocess
import sys

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quantbench.config.load import build_config, load_config
from quantbench.config.plan import CALIBRATION_ONLY, NO_EFFECT, make_plan, told
from quantbench.errors import BadInput
from quantbench.plugins.former import spelled_out
from quantbench.schema.base import digest
from quantbench.schema.results import Environment, Failure, Result, Skipped

BASE = {
    "task": "token-classification",
    "model_name_or_path": "some/model",
    "dataset": {"path": "data", "calibration_split": "train"},
}
ENVIRONMENT = Environment(
    cpu_model="a CPU",
    architecture="x86_64",
    instruction_sets=(),
    cores=2,
    memory_bytes=1,
    system="a system",
    versions={},
)
DIMENSIONS = {
    "quantization_approach": ["static", "dynamic"],
    "per_channel": [False, True],
    "framework_args.opset": [11, 12, 17],
    "calibration.method": ["minmax", "entropy", "percentile"],
    "calibration.percentile": [99, 99.9],
    "calibration.seed": [0, 1],
    "node_exclusion": [[], ["gelu"], ["gelu", "layernorm?"]],
    "operators_to_quantize": [["MatMul"], ["Add", "MatMul"]],
    "model_name_or_path": ["a/b", "a-b", "a b", "A-B", "ä" * 90],
    "dataset.name": [None, "none", "", "-"],
    "dataset.label_map": [{}, {"a": "b"}, {"a": "B"}],
}


def config_of(**changes):
    return build_config({**BASE, **changes}, {}, "somewhere")


def result_of(run, failed=False):
    failure = Failure(stage="timing", reason="it died") if failed else None
    return Result(run=run, environment=ENVIRONMENT, failure=failure)


@st.composite
def grids(draw):
    keys = draw(st.lists(st.sampled_from(sorted(DIMENSIONS)), unique=True, max_size=4))
    return {key: draw(st.permutations(DIMENSIONS[key]))[: draw(st.integers(1, 3))] for key in keys}


def planned(grid, **changes):
    """The plan of a grid, or None where some value could never run."""
    fixed = {key: value for key, value in BASE.items() if key not in grid}
    try:
        config = build_config({**fixed, **changes, **({"benchmarked": grid} if grid else {})}, {}, "somewhere")
    except BadInput:
        return None, None
    return config, make_plan(config)


@given(grid=grids())
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_every_combination_is_a_run_or_skipped_with_a_reason(grid):
    _, plan = planned(grid)
    assume(plan is not None)
    assert len(plan.runs) + len(plan.skipped) == math.prod(len(values) for values in grid.values())
    assert all(skipped.reason for skipped in plan.skipped)
    combinations = [json.dumps(dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]
    assert sorted(combinations) == sorted(json.dumps(item.benchmarked) for item in (*plan.runs, *plan.skipped))


@given(grid=grids())
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_names_and_keys_are_unique_and_names_fit_a_folder(grid):
    _, plan = planned(grid)
    assume(plan is not None)
    names = [run.name.casefold() for run in plan.runs]
    assert len(set(names)) == len(names)
    assert len({run.key for run in plan.runs}) == len(plan.runs)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+=-]{0,79}", run.name) for run in plan.runs)


@given(grid=grids(), seed=st.integers(0, 999))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_keys_depend_on_settings_and_not_on_the_order_of_the_file(grid, seed, tmp_path_factory):
    config, plan = planned(grid)
    assume(plan is not None)
    data = {**{k: v for k, v in BASE.items() if k not in grid}, "benchmarked": grid}
    items = list(data.items())
    random.Random(seed).shuffle(items)
    shuffled = {key: dict(reversed(value.items())) if key == "dataset" else value for key, value in items}
    path = tmp_path_factory.getbasetemp() / "shuffled.yaml"
    path.write_text(yaml.safe_dump(shuffled, sort_keys=False))
    again = make_plan(load_config(path))
    assert [(run.name, run.key) for run in again.runs] == [(run.name, run.key) for run in plan.runs]
    assert make_plan(config) == plan, "no hidden state"


@given(grid=grids())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_nothing_is_left_when_everything_is_done(grid):
    config, plan = planned(grid)
    assume(plan is not None)
    rest = make_plan(config, [result_of(run) for run in plan.runs])
    assert rest.runs == ()
    assert rest.done == plan.runs
    assert rest.skipped == plan.skipped


def test_the_key_changes_with_every_setting_that_matters():
    run = make_plan(config_of()).runs[0]
    for changes in (
        {"per_channel": True},
        {"node_exclusion": ["gelu"]},
        {"dataset": {"path": "data", "calibration_split": "train", "eval_split": "test"}},
        {"framework_args": {"opset": 18}},
        {"batch_sizes": [8]},
    ):
        assert make_plan(config_of(**changes)).runs[0].key != run.key


def test_a_benchmarked_value_has_the_key_of_the_same_value_fixed():
    fixed = make_plan(config_of(per_channel=True)).runs[0]
    benchmarked = make_plan(config_of(benchmarked={"per_channel": [False, True]})).runs[1]
    assert benchmarked.key == fixed.key
    assert benchmarked.settings == fixed.settings


def test_a_failed_run_is_planned_again():
    config = config_of(benchmarked={"per_channel": [False, True]})
    first, second = make_plan(config).runs
    plan = make_plan(config, [result_of(first), result_of(second, failed=True)])
    assert plan.done == (first,)
    assert plan.runs == (second,)


def test_dynamic_quantization_meets_calibration_values_once():
    config = config_of(
        benchmarked={
            "quantization_approach": ["dynamic", "static"],
            "calibration.method": ["minmax", "entropy"],
            "dataset.calibration_split": ["train", "test"],
        },
        dataset={"path": "data"},
    )
    plan = make_plan(config)
    assert [run.settings.quantization_approach for run in plan.runs] == ["dynamic", *["static"] * 4]
    assert len(plan.skipped) == 3
    assert {skipped.reason for skipped in plan.skipped} == {f"{CALIBRATION_ONLY}: the same as {plan.runs[0].name}"}


@pytest.mark.parametrize(
    ("calibration", "key", "values"),
    [
        ({"method": "minmax"}, "calibration.percentile", [99, 99.9]),
        ({"sampling": "first"}, "calibration.seed", [1, 2]),
        ({"moving_average": False}, "calibration.averaging_constant", [0.1, 0.2]),
    ],
)
def test_a_static_value_without_effect_is_skipped_with_that_reason(calibration, key, values):
    config = config_of(quantization_approach="static", calibration=calibration, benchmarked={key: values})
    plan = make_plan(config)
    assert len(plan.runs) == 1
    assert [skipped.reason for skipped in plan.skipped] == [f"{NO_EFFECT} ({key}): the same as {plan.runs[0].name}"]


def test_a_static_value_with_effect_is_kept():
    config = config_of(
        quantization_approach="static",
        benchmarked={"calibration.method": ["percentile"], "calibration.percentile": [99, 99.9]},
    )
    assert len(make_plan(config).runs) == 2


@pytest.mark.parametrize(
    ("approach", "key", "values"),
    [
        ("none", "per_channel", [False, True]),
        ("none", "node_exclusion", [[], ["gelu"]]),
        ("none", "operators_to_quantize", [["MatMul"], ["Add", "MatMul"]]),
        ("none", "activation_type", ["auto", "int8"]),
        ("none", "weight_type", ["auto", "uint8"]),
        ("mixed", "operators_to_quantize", [["MatMul"], ["Gemm"]]),
        ("mixed", "activation_type", ["uint8", "auto"]),
        ("dynamic", "activation_type", ["auto", "uint8"]),
        ("static", "node_exclusion", [["gelu", "layernorm"], ["layernorm", "gelu"]]),
        ("static", "operators_to_quantize", [["Add", "MatMul"], ["MatMul", "Add", "MatMul"]]),
    ],
)
def test_equal_models_are_one_run(approach, key, values):
    plan = make_plan(config_of(quantization_approach=approach, benchmarked={key: values}))
    assert len(plan.runs) == 1
    (skipped,) = plan.skipped
    assert skipped.reason == f"{NO_EFFECT} ({key}): the same as {plan.runs[0].name}"
    fixed = [make_plan(config_of(quantization_approach=approach, **{key: value})).runs[0] for value in values]
    assert len({run.key for run in fixed}) == (2 if approach == "static" else 1), "order is kept in keys"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("input_lengths", [[16], [16, 32]]),
        ("time_benchmark_args", [{"duration": 1}, {"duration": 2}]),
        ("time_benchmark_args.num_threads", [1, 2]),
    ],
)
def test_how_to_time_makes_no_run_of_its_own_where_nothing_is_timed(key, values):
    plan = make_plan(config_of(quantization_approach="dynamic", batch_sizes=[], benchmarked={key: values}))
    assert len(plan.runs) == 1
    assert [skipped.reason for skipped in plan.skipped] == [f"{NO_EFFECT} ({key}): the same as {plan.runs[0].name}"]
    timed = make_plan(config_of(quantization_approach="dynamic", batch_sizes=[1], benchmarked={key: values}))
    assert len(timed.runs) == 2


def test_a_grid_runs_the_float_export_once_and_names_what_has_no_effect_on_it():
    grid = {"quantization_approach": ["none", "dynamic"], "per_channel": [False, True]}
    plan = make_plan(config_of(benchmarked=grid))
    assert [run.name for run in plan.runs] == [
        "quantization_approach-none__per_channel-false",
        "quantization_approach-dynamic__per_channel-false",
        "quantization_approach-dynamic__per_channel-true",
    ]
    assert [skipped.reason for skipped in plan.skipped] == [
        f"{NO_EFFECT} (per_channel): the same as {plan.runs[0].name}"
    ]


@pytest.mark.parametrize("approach", ["static", "dynamic", "mixed"])
def test_settings_that_say_something_are_the_key_as_they_were_written(approach):
    config = config_of(
        quantization_approach=approach,
        per_channel=True,
        node_exclusion=["layernorm", "gelu"],
        weight_type="int8",
        dataset={"path": "data", **({"calibration_split": "train"} if approach == "static" else {})},
    )
    assert make_plan(config).runs[0].key == digest(spelled_out(config.base))


def test_what_mixed_does_not_do_is_refused():
    placement = {"default": "static"}
    with pytest.raises(BadInput, match="moving_average is there for quantization_approach static only"):
        config_of(quantization_approach="mixed", placement=placement, calibration={"moving_average": True})


def test_only_chooses_runs_by_their_names():
    config = config_of(benchmarked={"per_channel": [False, True], "node_exclusion": [[], ["gelu"]]})
    everything = make_plan(config).runs
    assert [run.name for run in everything] == [
        "per_channel-false__node_exclusion-none",
        "per_channel-false__node_exclusion-gelu",
        "per_channel-true__node_exclusion-none",
        "per_channel-true__node_exclusion-gelu",
    ]
    assert make_plan(config, only="*gelu").runs == (everything[1], everything[3])
    partly = make_plan(config, [result_of(everything[1])], only="*gelu")
    assert (partly.done, partly.runs) == ((everything[1],), (everything[3],))


def test_only_knows_runs_by_number_key_and_parameter_too():
    lists = [[], ["gelu"], ["layernorm", "gelu", "residual", "gather", "softmax"]]
    config = config_of(benchmarked={"per_channel": [False, True], "node_exclusion": lists, "weight_type": ["int8"]})
    everything = make_plan(config).runs
    assert make_plan(config, only="5").runs == (everything[4],)
    assert make_plan(config, only=everything[2].key[:12] + "*").runs == (everything[2],)
    assert make_plan(config, only="per_channel=true").runs == everything[3:]
    assert make_plan(config, only="node_exclusion=[gelu]").runs == (everything[1], everything[4])
    assert make_plan(config, only="node_exclusion=[layernorm,gelu,residual,gather,softmax]").runs == everything[2::3]
    assert make_plan(config, only="node_exclusion=none").runs == everything[::3]
    assert make_plan(config, only="node_exclusion=*softmax*").runs == everything[2::3]


def test_two_hundred_runs_with_long_lists_can_be_told_apart():
    operators = [["MatMul", "Add", "Gather", "Softmax", f"Op{number:03}"] for number in range(20)]
    groups = [[f"group{number}", "layernorm", "gelu", "residual"] for number in range(10)]
    told_apart = {told(Skipped(benchmarked={"a": a, "b": b}, reason="")) for a in operators for b in groups}
    assert len(told_apart) == 200


def test_only_that_matches_nothing_names_what_there_is():
    with pytest.raises(BadInput) as caught:
        make_plan(config_of(benchmarked={"per_channel": [False, True]}), only="*gelu")
    assert str(caught.value) == "--only *gelu: matches no run; there is: per_channel-false, per_channel-true"


def test_the_command_plans_without_a_heavy_import(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump({**BASE, "benchmarked": {"quantization_approach": ["static", "dynamic"]}}))
    program = (
        "import sys\nfrom quantbench.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'datasets', 'transformers', 'onnxruntime', 'onnx', 'huggingface_hub'}\n"
        "    print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "plan", str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "run      quantization_approach-static" in done.stdout
    assert "heavy: []" in done.stdout
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bench.yaml"], "a plan writes nothing"

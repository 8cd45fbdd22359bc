"""What runs share is counted once; timing is known exactly."""

from quantbench.config.estimate import estimate
from quantbench.config.load import build_config
from quantbench.config.plan import make_plan


def runs(**changes):
    data = {
        "task": "token-classification",
        "model_name_or_path": "demo",
        "dataset": {"path": "demo", "calibration_split": "train"},
        "quantization_approach": "static",
        "time_benchmark_args": {"duration": 10, "launches": 1},
        **changes,
    }
    return make_plan(build_config({k: v for k, v in data.items() if v is not None}, {}, "")).runs


def test_a_single_run_has_four_arms_at_one_shape():
    cost = estimate(runs())
    assert (cost.exports, cost.calibrations, cost.originals, cost.timed_arms, cost.shapes) == (1, 1, 1, 4, 1)
    assert cost.timing_seconds == 40
    assert cost.noise_seconds == 20
    assert cost.total_seconds > 40


def test_shared_work_is_counted_once():
    grid = {
        "quantization_approach": ["static", "dynamic"],
        "framework_args.opset": [13, 17],
        "node_exclusion": [[], ["gelu"]],
    }
    cost = estimate(runs(quantization_approach=None, benchmarked=grid))
    assert (cost.exports, cost.calibrations, cost.originals) == (2, 2, 1)
    assert cost.timed_arms == 8 + 2 + 2
    assert cost.timing_seconds == 120
    assert cost.total_seconds > cost.timing_seconds + cost.noise_seconds


def test_shapes_multiply_the_timing():
    cost = estimate(runs(batch_sizes=[1, 4], input_lengths=[16, 32, "dataset"]))
    assert cost.shapes == 6
    assert cost.timing_seconds == 6 * 40


def test_nothing_left_to_do_costs_nothing():
    cost = estimate([])
    assert (cost.timed_arms, cost.timing_seconds, cost.total_seconds) == (0, 0, 0)


def test_training_takes_the_minutes_that_it_is_given():
    trained = {"aware_training": True, "aware_training_args": {"minutes": 3}}
    assert estimate(runs(**trained)).total_seconds == estimate(runs()).total_seconds + 180

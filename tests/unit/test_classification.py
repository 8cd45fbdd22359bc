"""Metrics of labels, sets of labels and numbers, against scikit-learn and scipy, also where examples count several times."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sklearn

from quantbench.plugins import registry
from quantbench.schema.settings import Settings
from quantbench.tasks import _label_metrics

LABELS = st.integers(0, 4)
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=40)
AVERAGES = ("macro", "micro", "weighted")


def weighted(draw, rows):
    """An array of rows, how often each counts (some at least), and the rows repeated so often."""
    array = np.asarray(rows, dtype=np.float64)
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    weights[0] = max(1, weights[0])
    return array, weights.astype(np.float64), np.repeat(array, weights, axis=0)


@given(st.data(), PAIRS)
def test_single_labels_are_scored_as_by_scikit_learn(data, rows):
    array, weights, repeated = weighted(data.draw, rows)
    found = _label_metrics.of_labels(array, weights)
    true, predicted = repeated.T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = {
            "accuracy": sklearn.accuracy_score(true, predicted),
            "matthews_correlation": sklearn.matthews_corrcoef(true, predicted),
        }
        for average in AVERAGES:
            values = sklearn.precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
            wanted |= {
                f"{name}_{average}": value
                for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True)
            }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-9)


@given(st.data(), st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_two_labels_have_values_for_the_second_alone(data, rows):
    array, weights, repeated = weighted(data.draw, [*rows, (1, 0)])
    found = _label_metrics.of_labels(array, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = sklearn.precision_recall_fscore_support(*repeated.T, average="binary", zero_division=0, labels=[0, 1])
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(values[:3], abs=1e-9)


@given(st.data(), st.lists(st.lists(st.integers(0, 1), min_size=6, max_size=6), min_size=1, max_size=30))
def test_sets_of_labels_are_scored_as_by_scikit_learn(data, rows):
    array, weights, repeated = weighted(data.draw, rows)
    found = _label_metrics.of_sets(array, weights)
    true, predicted = repeated[:, :3].astype(int), repeated[:, 3:].astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = {"accuracy": sklearn.accuracy_score(true, predicted)}
        for average in AVERAGES:
            values = sklearn.precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
            wanted |= {
                f"{name}_{average}": value
                for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True)
            }
    assert found == pytest.approx(wanted, abs=1e-9)


@given(st.data(), st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=30))
def test_numbers_are_correlated_as_by_scipy(data, rows):
    array, weights, repeated = weighted(data.draw, rows)
    found = _label_metrics.of_numbers(array, weights)
    if len(repeated) < 2 or any(len(set(column)) < 2 for column in repeated.T):
        assert found == {"pearson": 0.0, "spearmanr": 0.0}
        return
    wanted = {"pearson": pearsonr(*repeated.T).statistic, "spearmanr": spearmanr(*repeated.T).statistic}
    assert found == pytest.approx(wanted, abs=1e-9)


def test_a_number_that_moved_little_is_unchanged():
    original = [(0.0,), (1.0,), (2.0,)]
    assert _label_metrics.changed_numbers([(0.001,), (1.0,), (2.5,)], original) == 1
    assert _label_metrics.changed([(1,), (2,)], [(1,), (0,)]) == 1


def test_values_for_two_labels_are_refused_for_more():
    ((key, message),) = _label_metrics.check_binary({"f1", "accuracy"}, 77)
    assert key == "metrics"
    assert message == "metric f1 is for two labels, the model has 77; use f1_macro, _micro or _weighted"
    assert not _label_metrics.check_binary({"f1"}, 2)
    assert not _label_metrics.check_binary({"accuracy"}, 77)


ONE = {"id2label": {"0": "LABEL_0"}}
SETS = {"id2label": {"0": "a", "1": "b"}, "problem_type": "multi_label_classification"}


@pytest.mark.parametrize(
    ("task", "args", "config", "words"),
    [
        ("text-classification", {}, ONE, "set task_args.is_regression: true"),
        ("text-classification", {"is_regression": True}, ONE, None),
        ("image-classification", {}, ONE, "give a model with two classes or more"),
        ("text-classification", {}, SETS, "set task_args.is_multi_label: true, or mend it there"),
        ("text-classification", {"is_multi_label": True}, SETS, None),
        ("image-classification", {}, SETS, None),
        (
            "text-classification",
            {"is_multi_label": True},
            {**SETS, "problem_type": "single_label_classification"},
            "leave out task_args.is_multi_label",
        ),
        ("token-classification", {}, ONE, None),
        ("question-answering", {}, ONE, None),
        ("feature-extraction", {}, ONE, None),
    ],
)
def test_what_the_configuration_of_a_model_says_of_its_outputs_is_held_against_the_options(task, args, config, words):
    settings = Settings(task=task, model_name_or_path="m", dataset={"path": "p"}, task_args=args)
    found = registry.task(task).check_model(settings, config)
    assert [key for key, _ in found] == (["task_args"] if words else [])
    assert words is None or words in found[0][1]

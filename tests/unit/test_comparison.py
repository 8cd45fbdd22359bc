"""Two folders side by side: refused where unlike, and verdicts where alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import ENVIRONMENT, arm, reference_config, reference_results

from quantbench import benchmark, comparison, stats
from quantbench.errors import BadInput
from quantbench.store import Store

numbers = st.lists(st.floats(-1, 1), min_size=8, max_size=30)


def changed(results, **updates):
    """The same results with the optimized arm, or the environment, replaced."""
    return [result.model_copy(update=_updates(result, updates)) for result in results]


def _updates(result, updates):
    if "optimized" not in updates:
        return updates
    arms = {"optimized": updates["optimized"]}
    shapes = (shape.model_copy(update={"arms": {**shape.arms, **arms}}) for shape in result.latency)
    return {"latency": tuple(shapes)}


@given(numbers, numbers, st.floats(-1, 1))
def test_a_shift_is_found_with_its_sign(first, second, offset):
    interval, _ = comparison.shift(first, second)
    moved, _ = comparison.shift(first, [value + offset for value in second])
    assert interval.low <= interval.value <= interval.high
    assert moved.value == pytest.approx(interval.value + offset, abs=1e-9)


def test_the_same_results_are_inconclusive_everywhere():
    results = reference_results(reference_config())
    assert {row.ratio.value for row in comparison.compare(results, results)} == {1.0}
    text = comparison.render(results, results)
    assert text.count("inconclusive") == 2
    assert "faster" not in text
    assert "+0.0000 (+0.0000 to +0.0000)" in text


def other_file(result):
    return result.model_copy(update={"artifact": result.artifact.model_copy(update={"sha256": "another"})})


def test_a_slower_version_is_called():
    first = reference_results(reference_config())[1:]
    second = [other_file(result) for result in changed(first, optimized=arm(60.0))]
    text = comparison.render(first, second)
    assert "slower" in text
    assert "0.89" in text


def slower_by(results, share):
    """Another state of the machine: every int8 model takes longer by a share, PyTorch does not."""
    return [
        changed([result], optimized=arm(stats.mean_ms(result.latency[0].arms["optimized"]) * (1 + share)))[0]
        for result in results
    ]


def test_equal_files_are_never_called_and_raise_the_floor_for_others():
    first = reference_results(reference_config())
    second = slower_by(first, 0.03)
    text = comparison.render(first, second)
    assert text.count("inconclusive") == 2
    assert "slower" not in text
    text = comparison.render(first, [second[0], other_file(slower_by(first, 0.025)[1])])
    assert "slower" not in text
    text = comparison.render(first, [second[0], other_file(slower_by(first, 0.06)[1])])
    assert text.count("slower") == 1


def test_nothing_is_called_where_the_machine_was_in_another_state():
    """An equal file took a third longer in the second session, which no other file can be blamed for then."""
    first = reference_results(reference_config())
    text = comparison.render(first, [slower_by(first, 0.3)[0], other_file(slower_by(first, 0.8)[1])])
    assert text.count("inconclusive") == 2
    assert text.count("77 %") == 2
    assert "another state" in text
    assert "another state" not in comparison.render(first, slower_by(first, 0.03))


def test_the_original_tells_of_the_machine_where_its_model_is_the_same():
    first = [result.model_copy(update={"sources": {"model": "a"}}) for result in reference_results(reference_config())]
    shape = first[1].latency[0]
    arms = shape.arms | {"pytorch": arm(1.1 * stats.mean_ms(shape.arms["pytorch"])), "null": shape.arms["null"]}
    second = [first[1].model_copy(update={"latency": (shape.model_copy(update={"arms": arms}),)})]
    assert comparison.machine_speeds(first, second) == {"4 × 64": pytest.approx(1 / 1.1, rel=0.01)}
    other = [second[0].model_copy(update={"sources": {"model": "b"}})]
    assert comparison.machine_speeds(first, other) == {"4 × 64": pytest.approx(1.0)}
    far = [second[0].model_copy(update={"environment": ENVIRONMENT.model_copy(update={"cpu_model": "Other"})})]
    assert comparison.machine_speeds(first, far) == {}


def folder(path, config, results):
    store = Store(path)
    store.open(config)
    for result in results:
        store.save(result)
    return path


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"instruction_sets": ("avx2",)}, "instruction_sets"),
        ({"versions": {"quantbench": "0.1.0", "onnxruntime": "1.33.0"}}, "onnxruntime 1.32.0 against 1.33.0"),
        ({"cpu_model": "Other CPU"}, "cpu_model Example CPU against Other CPU"),
        ({"cap": "avx2"}, "cap None against avx2"),
    ],
)
def test_unlike_machines_are_refused_unless_asked_for(tmp_path, update, words):
    config = reference_config()
    results = reference_results(config)
    a = folder(tmp_path / "a", config, results)
    b = folder(tmp_path / "b", config, changed(results, environment=ENVIRONMENT.model_copy(update=update)))
    with pytest.raises(BadInput, match="add --across") as refused:
        benchmark.compared(a, b, across=False)
    assert words in str(refused.value)
    text = benchmark.compared(a, b, across=True)
    assert text.startswith("Measured under unlike conditions")
    assert words in text


def test_a_folder_without_results_is_refused(tmp_path):
    config = reference_config()
    a = folder(tmp_path / "a", config, reference_results(config))
    b = folder(tmp_path / "b", config, [])
    with pytest.raises(BadInput, match="no finished run"):
        benchmark.compared(a, b, across=False)
    with pytest.raises(BadInput, match="no benchmark"):
        benchmark.compared(a, tmp_path / "c", across=False)

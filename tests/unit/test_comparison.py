"""Two folders side by side: refused where unlike, and verdicts where alike."""

import pytest
from tests.support.example_results import ENVIRONMENT, arm, reference_config, reference_results
from typer.testing import CliRunner

import quantbench as qb
from quantbench import cli
from quantbench.analysis import compare, pairing, speedups
from quantbench.config.keys import replaced
from quantbench.errors import BadInput
from quantbench.reports import _comparison
from quantbench.results.store import Store
from quantbench.schema.base import digest
from quantbench.schema.settings import Pruning, Settings


def changed(results, **updates):
    """The same results with the optimized arm, or the environment, replaced."""
    return [result.model_copy(update=_updates(result, updates)) for result in results]


def _updates(result, updates):
    if "optimized" not in updates:
        return updates
    arms = {"optimized": updates["optimized"]}
    shapes = (shape.model_copy(update={"arms": {**shape.arms, **arms}}) for shape in result.latency)
    return {"latency": tuple(shapes)}


def test_the_same_results_are_inconclusive_everywhere():
    results = reference_results(reference_config())
    assert {row.ratio.value for row in compare.compare(results, results)} == {1.0}
    text = _comparison.render(results, results)
    assert text.count("inconclusive") == 2
    assert "faster" not in text
    assert "+0.0000 (+0.0000 to +0.0000)" in text


def other_file(result):
    return result.model_copy(update={"artifact": result.artifact.model_copy(update={"sha256": "another"})})


def test_a_slower_version_is_called():
    first = reference_results(reference_config())[1:]
    second = [other_file(result) for result in changed(first, optimized=arm(60.0))]
    text = _comparison.render(first, second)
    assert "slower" in text
    assert "0.89" in text


def test_speeds_over_unlike_originals_are_not_compared():
    first = reference_results(reference_config())
    second = [result.model_copy(update={"original": "onnxruntime"}) for result in first]
    assert "* speed (the original run by pytorch against onnxruntime): " in _comparison.render(first, second)
    assert compare.compare(first, second) == []


def slower_by(results, share):
    """Another state of the machine: every int8 model takes longer by a share, PyTorch does not."""
    return [
        changed([result], optimized=arm(speedups.mean_ms(result.latency[0].arms["optimized"]) * (1 + share)))[0]
        for result in results
    ]


def test_equal_files_are_never_called_and_raise_the_floor_for_others():
    first = reference_results(reference_config())
    second = slower_by(first, 0.03)
    text = _comparison.render(first, second)
    assert text.count("inconclusive") == 2
    assert "slower" not in text
    text = _comparison.render(first, [second[0], other_file(slower_by(first, 0.025)[1])])
    assert "slower" not in text
    text = _comparison.render(first, [second[0], other_file(slower_by(first, 0.06)[1])])
    assert text.count("slower") == 1


def test_nothing_is_called_where_the_machine_was_in_another_state():
    """An equal file took a third longer in the second session, which no other file can be blamed for then."""
    first = reference_results(reference_config())
    text = _comparison.render(first, [slower_by(first, 0.3)[0], other_file(slower_by(first, 0.8)[1])])
    assert text.count("inconclusive") == 2
    assert text.count("77 %") == 2
    assert "another state" in text
    assert "another state" not in _comparison.render(first, slower_by(first, 0.03))


def test_the_original_tells_of_the_machine_where_its_model_is_the_same():
    first = [result.model_copy(update={"sources": {"model": "a"}}) for result in reference_results(reference_config())]
    shape = first[1].latency[0]
    arms = shape.arms | {"pytorch": arm(1.1 * speedups.mean_ms(shape.arms["pytorch"])), "null": shape.arms["null"]}
    second = [first[1].model_copy(update={"latency": (shape.model_copy(update={"arms": arms}),)})]
    assert compare.machine_speeds(first, second) == {"4 × 64": pytest.approx(1 / 1.1, rel=0.01)}
    other = [second[0].model_copy(update={"sources": {"model": "b"}})]
    assert compare.machine_speeds(first, other) == {"4 × 64": pytest.approx(1.0)}
    far = [second[0].model_copy(update={"environment": ENVIRONMENT.model_copy(update={"cpu_model": "Other"})})]
    assert compare.machine_speeds(first, far) == {}


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
        qb.compare(a, b)
    assert words in str(refused.value)
    text = str(qb.compare(a, b, across=True))
    assert text.startswith("Measured under unlike conditions")
    assert words in text


def test_a_folder_without_results_is_refused(tmp_path):
    config = reference_config()
    a = folder(tmp_path / "a", config, reference_results(config))
    b = folder(tmp_path / "b", config, [])
    with pytest.raises(BadInput, match="no finished run"):
        qb.compare(a, b)
    with pytest.raises(BadInput, match="no benchmark"):
        qb.compare(a, tmp_path / "c")


def asked(result, key, value):
    """The same result as if a parameter had been another, dotted keys reaching inside."""
    settings = Settings.model_validate(replaced(result.run.settings.model_dump(mode="json"), key, value))
    run = result.run.model_copy(update={"settings": settings, "key": digest(settings.model_dump(mode="json"))})
    return result.model_copy(update={"run": run})


def test_folders_that_share_no_run_are_refused_with_what_each_has(tmp_path):
    config = reference_config()
    one, other = reference_results(config)
    a, b = folder(tmp_path / "a", config, [one]), folder(tmp_path / "b", config, [other])
    with pytest.raises(BadInput, match="share no finished run") as refused:
        qb.compare(a, b)
    assert f"{a} has {one.run.name}. {b} has {other.run.name}." in str(refused.value)


def test_runs_are_paired_by_their_settings_whatever_they_are_called():
    first = reference_results(reference_config())
    second = [r.model_copy(update={"run": r.run.model_copy(update={"name": f"n{i}"})}) for i, r in enumerate(first)]
    assert len(compare.compare(first, second)) == 2


def test_other_threads_are_named_and_their_speed_is_left_out():
    first = [asked(result, "time_benchmark_args.num_threads", 1) for result in reference_results(reference_config())]
    second = [asked(result, "time_benchmark_args.num_threads", 2) for result in first]
    assert compare.compare(first, second) == []
    text = _comparison.render(first, second)
    assert "* speed (num_threads 1 against 2): " in text
    assert "## Speed" not in text
    assert "## Quality" in text


def test_threads_that_are_set_to_the_usual_number_are_the_same():
    first = reference_results(reference_config())
    second = [asked(result, "time_benchmark_args.num_threads", ENVIRONMENT.threads) for result in first]
    assert len(compare.compare(first, second)) == 2


def test_other_examples_are_named_and_their_quality_is_left_out():
    first = reference_results(reference_config())
    second = [asked(result, "max_eval_samples", 7) for result in first]
    second = [result.model_copy(update={"sources": {**result.sources, "evaluation": "b"}}) for result in second]
    text = _comparison.render(first, second)
    assert "* quality (max_eval_samples None against 7): " in text
    assert "## Quality" not in text
    assert "## Speed" in text


def test_how_a_model_was_made_or_timed_differs_with_a_word():
    first = reference_results(reference_config())
    second = [asked(asked(r, "per_channel", True), "time_benchmark_args.duration", 5) for r in first]
    text = _comparison.render(first, second)
    assert "per_channel False against True" in text
    assert "time_benchmark_args.duration 15.0 against 5.0" in text
    assert "## What else differs" not in _comparison.render(first, first)


def test_a_noise_floor_that_is_not_known_is_no_zero():
    results = reference_results(reference_config())
    shapes = []
    for shape in results[0].latency:
        arms = {name: arm.model_copy(update={"slots": arm.slots[:3]}) for name, arm in shape.arms.items()}
        shapes.append(shape.model_copy(update={"arms": arms}))
    short = [results[0].model_copy(update={"latency": tuple(shapes)})]
    text = _comparison.render(short, short)
    assert "0.0 %" not in text
    assert "unknown" in text and "too few slots" in text


def test_what_only_one_has_is_told():
    first = reference_results(reference_config())
    text = _comparison.render(first, [first[0].model_copy(update={"latency": (), "scores": {}})])
    assert f"* in A only: `{first[1].run.name}`" in text
    assert "* speed at 4 × 64 (not timed alike in both): " in text
    assert "* quality (evaluated in one only): " in text
    assert "No run" not in text


def test_runs_are_paired_by_what_was_measured_before_their_names():
    """One folder has one and two threads under names of their own, the other two threads without a word of them."""
    (plain, _) = reference_results(reference_config())
    first = [asked(plain, "time_benchmark_args.num_threads", number) for number in (1, 2)]
    first = [r.model_copy(update={"run": r.run.model_copy(update={"name": f"n{i}"})}) for i, r in enumerate(first)]
    second = [asked(asked(plain, "time_benchmark_args.num_threads", 2), "time_benchmark_args.duration", 5)]
    (pair,) = pairing.pairs(first, second)
    assert (pair.name, pair.not_timed_alike) == ("n1", [])
    text = _comparison.render(first, second)
    assert "* in A only: `n0`" in text


def test_a_run_is_taken_once():
    first = reference_results(reference_config())
    second = [asked(result, "per_channel", True) for result in first]
    second = [r.model_copy(update={"run": r.run.model_copy(update={"name": first[0].run.name})}) for r in second]
    same = [r.model_copy(update={"run": r.run.model_copy(update={"name": first[0].run.name})}) for r in first]
    found = pairing.pairs([asked(result, "max_eval_samples", 9) for result in same], second)
    assert len({id(pair.second) for pair in found}) == len(found) == 2


def worse(result):
    """As if every fact were wrong."""
    scores = result.scores["optimized"]
    outcomes = tuple((0, *row[1:]) for row in scores.outcomes)
    return result.model_copy(
        update={"scores": {**result.scores, "optimized": scores.model_copy(update={"outcomes": outcomes})}}
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda results: results, 0),
        (lambda results: [other_file(result) for result in changed(results, optimized=arm(60.0))], 4),
        (lambda results: [worse(result) for result in results], 5),
        (lambda results: [worse(other_file(result)) for result in changed(results, optimized=arm(60.0))], 6),
    ],
)
def test_a_script_learns_what_was_found_from_the_exit_code(tmp_path, change, code):
    config = reference_config()
    results = reference_results(config)[1:]
    a, b = folder(tmp_path / "a", config, results), folder(tmp_path / "b", config, change(results))
    done = CliRunner().invoke(cli.app, ["compare", str(a), str(b)])
    assert done.exit_code == code, done.output
    found = qb.compare(a, b)
    assert (bool(found.slower), bool(found.worse)) == (code in (4, 6), code in (5, 6))


def test_a_parameter_that_earlier_versions_had_not_differs_with_a_word():
    (first,) = reference_results(reference_config())[:1]
    pruned = first.run.settings.model_copy(update={"pruning": Pruning(ffn=0.2), "positions": "read"})
    second = first.model_copy(update={"run": first.run.model_copy(update={"settings": pruned})})
    assert pairing.Pair(first, second).differing == ["pruning.ffn 0.0 against 0.2", "positions all against read"]

"""What ``why`` says of runs that there is nothing to explain of."""

import pytest
from tests.support.example_results import reference_config, reference_results

import quantbench as qb
from quantbench.diagnose.run import diagnose_all, loses
from quantbench.errors import BadInput
from quantbench.reports import _why
from quantbench.results.store import Store


def equal(result):
    return result.model_copy(update={"scores": {**result.scores, "optimized": result.scores["original"]}})


def test_a_model_that_lost_nothing_needs_no_mending_and_is_not_taken_apart(tmp_path):
    results = [equal(result) for result in reference_results(reference_config())]
    text = _why.text(results, diagnose_all(results, tmp_path, None))
    assert text.count("loses nothing: nothing needs mending") == 2
    assert text.splitlines()[0].startswith("# `node_exclusion-none` loses nothing")
    assert "f1 0.940 -> 0.940 over 10 examples" in text
    assert "comes nearest" not in text


def test_a_loss_beyond_chance_is_one():
    assert all(map(loses, reference_results(reference_config())))


def test_what_was_not_evaluated_cannot_be_explained(tmp_path):
    config = reference_config()
    store = Store(tmp_path)
    store.open(config)
    for result in reference_results(config):
        store.save(result.model_copy(update={"scores": {}}))
    with pytest.raises(BadInput, match="no finished run that was evaluated"):
        qb.diagnose(tmp_path)

"""Which shares of neurons and heads a search tries next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import reference_config

from quantbench.schema.settings import FrameworkArgs, Pruning
from quantbench.tune import pruner
from quantbench.tune.state import Tried


def version(name, seconds, verdict="passes", **changes):
    return Tried(
        name=name,
        candidate=name,
        step=0,
        fallback=(),
        settings=reference_config().base.model_copy(update=changes),
        seconds=seconds,
        losses={},
        excess=0.5,
        examples=10,
        verdict=verdict,
    )


COSTS = {"ffn": 0.6, "heads": 0.3}


@pytest.mark.parametrize("shares", pruner.SHARES.values())
@given(data=st.data())
def test_the_largest_share_that_passes_is_found_in_three_trials(shares, data):
    most = data.draw(st.sampled_from((0.0, *shares)))
    passed = {}
    while (share := pruner.next_share(passed, shares)) is not None:
        passed[share] = share <= most
    assert len(passed) <= 3
    assert max((share for share, good in passed.items() if good), default=0.0) == most


def test_the_fastest_version_that_passed_is_pruned():
    tried = [version("slow", 2.0, per_channel=False), version("fast", 1.0), version("broken", 0.5, "fails")]
    found = pruner.next_version(tried, COSTS)
    assert (found.name, found.candidate, found.pruned) == ("fast-ffn30", "fast", {"ffn": 0.3})
    assert found.settings.pruning.ffn == 0.3
    assert found.settings.model_copy(update={"pruning": tried[1].settings.pruning}) == tried[1].settings
    assert found.seconds == pytest.approx(1 - 0.3 * 0.6)


def names_of(tried, costs, passes):
    """Names of what is tried one after another, where shares pass or not."""
    tried, names = list(tried), []
    while (found := pruner.next_version(tried, costs)) is not None:
        names.append(found.name)
        tried.append(found.model_copy(update={"verdict": "passes" if passes(found.pruned) else "fails"}))
    return names, tried[-1]


def test_heads_are_taken_once_the_share_of_neurons_stands():
    names, last = names_of([version("fast", 1.0)], COSTS, lambda p: p["ffn"] < 0.5 and p.get("heads", 0) < 0.3)
    assert names == ["fast-ffn30", "fast-ffn50", "fast-ffn40", "fast-ffn40-heads20", "fast-ffn40-heads30"]
    assert last.seconds == pytest.approx(1 - 0.4 * 0.6 - 0.3 * 0.3)
    assert last.settings.pruning.shares == {"ffn": 0.4, "heads": 0.3}


def test_heads_are_taken_of_all_neurons_where_none_can_be_missed():
    names, _ = names_of([version("fast", 1.0)], COSTS, lambda p: not p.get("ffn"))
    assert names == ["fast-ffn30", "fast-ffn10", "fast-heads20", "fast-heads30"]
    names, _ = names_of([version("fast", 1.0)], {"ffn": 0.0, "heads": 0.3}, lambda p: p["heads"] < 0.2)
    assert names == ["fast-heads20", "fast-heads10"]


def test_samples_and_seed_are_those_of_the_configuration():
    pruning = Pruning(samples=9, seed=3)
    names, last = names_of([version("fast", 1.0, pruning=pruning)], COSTS, lambda _: True)
    assert names == ["fast-ffn30", "fast-ffn50", "fast-ffn60", "fast-ffn60-heads20", "fast-ffn60-heads30"]
    assert (last.settings.pruning.samples, last.settings.pruning.seed) == (9, 3)


def test_shares_that_the_configuration_has_stay():
    assert pruner.next_version([version("fast", 1.0, pruning=Pruning(ffn=0.2))], COSTS) is None


@pytest.mark.parametrize("tried", [[], [version("broken", 1.0, "fails")]])
def test_nothing_is_pruned_where_nothing_passed(tried):
    assert pruner.next_version(tried, COSTS) is None


def test_nothing_is_pruned_where_there_are_no_units():
    assert pruner.next_version([version("fast", 1.0)], {"ffn": 0.0}) is None


def test_a_checkpoint_is_passed_over_as_it_would_stay_whole_under_another_name():
    bfloat16 = {"framework_args": FrameworkArgs(precision="bfloat16"), "quantization_approach": "none"}
    checkpoint = version("pytorch-bfloat16", 0.5, framework="pytorch", **bfloat16)
    assert pruner.next_version([checkpoint], COSTS) is None
    assert pruner.next_version([checkpoint, version("fast", 1.0)], COSTS).name == "fast-ffn30"


def trained_names(tried, passes):
    tried, names = list(tried), []
    while (found := pruner.next_trained(tried, COSTS, 2.0)) is not None:
        names.append(found.name)
        tried.append(found.model_copy(update={"verdict": "passes" if passes(found.pruned) else "fails"}))
    return names, tried[-1]


def test_what_is_trained_lacks_more_than_what_passes_without():
    _, pruned = names_of([version("fast", 1.0)], COSTS, lambda p: p["ffn"] < 0.4 and p.get("heads", 0) < 0.2)
    tried = [version("fast", 1.0), pruned.model_copy(update={"verdict": "passes"})]
    names, last = trained_names(tried, lambda p: p["ffn"] < 0.6)
    assert tried[1].name == "fast-ffn30-heads10"
    assert names == ["fast-ffn40-heads10-trained", "fast-ffn50-heads10-trained", "fast-ffn60-heads10-trained"]
    assert last.settings.aware_training and last.settings.aware_training_args.minutes == 2.0
    assert last.settings.pruning.shares == {"ffn": 0.6, "heads": 0.1}
    assert last.seconds == pytest.approx(1 - 0.6 * 0.6 - 0.1 * 0.3)


def test_training_ends_with_the_first_that_fails_and_is_no_step_of_pruning():
    names, last = trained_names([version("fast", 1.0)], lambda p: p["ffn"] < 0.2)
    assert names == ["fast-ffn10-trained", "fast-ffn20-trained"]
    assert pruner.next_version([version("fast", 1.0), last], COSTS).name == "fast-ffn30"
    assert pruner.next_trained([version("slow", 1.0, "fails")], COSTS, 1.0) is None

"""Which share of neurons a search tries next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import reference_config

from quantbench.schema.settings import FrameworkArgs
from quantbench.tune import pruner
from quantbench.tune.state import Tried


def version(name, seconds, verdict="passes", pruned=0.0, **changes):
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
        pruned=pruned,
    )


@given(most=st.sampled_from((0.0, *pruner.SHARES)))
def test_the_largest_share_that_passes_is_found_in_three_trials(most):
    passed = {}
    while (share := pruner.next_share(passed)) is not None:
        passed[share] = share <= most
    assert len(passed) <= 3
    assert max((share for share, good in passed.items() if good), default=0.0) == most


def test_the_fastest_version_that_passed_is_pruned():
    tried = [version("slow", 2.0), version("fast", 1.0), version("broken", 0.5, "fails")]
    found = pruner.next_version(tried, of_products=0.6)
    assert (found.name, found.candidate, found.pruned) == ("fast-ffn30", "fast", 0.3)
    assert found.settings.pruning.ffn == 0.3
    assert found.settings.model_copy(update={"pruning": tried[1].settings.pruning}) == tried[1].settings
    assert found.seconds == pytest.approx(1 - 0.3 * 0.6)


def test_what_was_tried_is_not_tried_again():
    tried = [version("fast", 1.0)]
    names = []
    while (found := pruner.next_version(tried, 0.6)) is not None:
        names.append(found.name)
        tried.append(found.model_copy(update={"verdict": "passes" if found.pruned < 0.5 else "fails"}))
    assert names == ["fast-ffn30", "fast-ffn50", "fast-ffn40"]


@pytest.mark.parametrize("tried", [[], [version("broken", 1.0, "fails")]])
def test_nothing_is_pruned_where_nothing_passed(tried):
    assert pruner.next_version(tried, 0.6) is None


def test_nothing_is_pruned_where_there_are_no_neurons():
    assert pruner.next_version([version("fast", 1.0)], 0.0) is None


def test_a_checkpoint_is_passed_over_as_it_would_stay_whole_under_another_name():
    bfloat16 = {"framework_args": FrameworkArgs(precision="bfloat16"), "quantization_approach": "none"}
    checkpoint = version("pytorch-bfloat16", 0.5, framework="pytorch", **bfloat16)
    assert pruner.next_version([checkpoint], of_products=0.6) is None
    assert pruner.next_version([checkpoint, version("fast", 1.0)], of_products=0.6).name == "fast-ffn30"

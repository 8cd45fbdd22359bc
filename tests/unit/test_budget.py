"""How a search shares its time: whatever the figures, some of it is left to try versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import reference_config

import quantbench as qb
from quantbench.errors import BadInput
from quantbench.tune.budget import (
    FEWEST_ROUNDS,
    MOST_ROUNDS,
    SCREENING,
    SENSITIVITIES,
    Budget,
    Pace,
    extent,
    may_make,
)

seconds = st.floats(0, 1000)
paces = st.builds(
    Pace, st.floats(0.1, 20), st.lists(st.floats(0.001, 10), min_size=1, max_size=6).map(tuple), st.just(0.05)
)
QUICK = Pace(1.0, (0.01, 0.002), 0.05)


@given(st.floats(30, 2000), seconds)
def test_a_screening_takes_a_minute_at_most_and_leaves_a_quarter_of_the_time(total, spent):
    until = Budget(seconds=total).screening_until(spent)
    assert spent <= until <= spent + SCREENING
    assert until <= max(spent, SENSITIVITIES * total)


@given(seconds, seconds, paces, st.integers(1, 20))
def test_no_version_is_made_that_could_not_be_timed(left, longest, pace, arms):
    if may_make(left, longest, pace, arms):
        assert longest + pace.cost(arms + 1, 1) <= left
        assert extent(left - longest, pace, arms + 1, 1).arms == arms + 1


@given(seconds, paces, st.integers(1, 20), st.integers(1, 20))
def test_a_probe_fits_into_its_time_unless_it_is_as_small_as_can_be(left, pace, arms, least):
    least = min(least, arms)
    found = extent(left, pace, arms, least)
    assert least <= found.arms <= arms
    assert FEWEST_ROUNDS <= found.rounds <= MOST_ROUNDS
    assert list(found.shapes) == sorted(set(found.shapes))
    assert 1 <= len(found.shapes) <= len(pace.passes)
    smallest = (found.arms, len(found.shapes), found.rounds) == (least, 1, FEWEST_ROUNDS)
    assert smallest or pace.cost(found.arms, len(found.shapes), found.rounds) <= left


@given(paces, seconds, seconds, st.integers(2, 12))
def test_more_time_never_means_fewer_arms(pace, one, other, arms):
    less, more = sorted((one, other))
    assert extent(less, pace, arms, 2).arms <= extent(more, pace, arms, 2).arms


def test_with_much_time_all_is_probed_and_with_little_the_shapes_of_short_calls():
    assert extent(600, QUICK, 12, 3) == extent(600, QUICK, 12, 12)
    assert (extent(600, QUICK, 12, 3).shapes, extent(600, QUICK, 12, 3).rounds) == ((0, 1), MOST_ROUNDS)
    assert extent(QUICK.cost(12, 1), QUICK, 12, 3).shapes == (1,)
    assert extent(QUICK.cost(5, 1), QUICK, 12, 3).arms == 5
    assert extent(-1, QUICK, 12, 3).arms == 3


def test_what_takes_too_long_is_not_begun():
    assert not Budget(seconds=60).may_measure_sensitivities(50)
    assert may_make(30, 5, QUICK, 8)
    assert not may_make(30, 25, QUICK, 8)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"max_evaluations": 0}, "--max-evaluations 0: must be more than 0"),
        ({"max_evaluations": -1}, "--max-evaluations -1: must be more than 0"),
        ({"max_evaluations": float("nan")}, "--max-evaluations nan: must be more than 0"),
        ({"max_time": float("nan")}, "--max-time nan: is too little to try one version"),
        ({"thorough": True, "screen_only": True}, "--screen-only --thorough: the screening is the same"),
    ],
)
def test_a_budget_that_no_search_can_keep_to_is_refused(budget, says, tmp_path):
    config = reference_config()
    with pytest.raises(BadInput) as refused:
        qb.tune(config, out=tmp_path / "out", **budget)
    (mistake,) = refused.value.mistakes
    assert str(mistake).startswith(says)
    assert not (tmp_path / "out").exists()

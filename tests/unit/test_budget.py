"""How a search shares its time: whatever the figures, some of it is left to try versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import reference_config

import quantbench as qb
from quantbench.errors import BadInput
from quantbench.tune.budget import MAKING, PROBE, SENSITIVITIES, SHORTEST_PROBE, Budget

seconds = st.floats(0, 1000)


@given(st.floats(30, 1000), seconds, seconds)
def test_no_version_is_begun_that_would_end_after_half_of_the_time(total, spent, longest):
    if Budget(seconds=total).may_make(spent, longest):
        assert spent + longest <= MAKING * total


@given(st.floats(30, 1000), seconds, st.integers(1, 20), st.integers(1, 6))
def test_probes_leave_a_quarter_of_the_time_unless_they_are_as_short_as_can_be(total, spent, arms, shapes):
    each = Budget(seconds=total).probe_seconds(spent, arms, shapes)
    assert SHORTEST_PROBE <= each <= PROBE
    assert each == SHORTEST_PROBE or spent + each * arms * shapes <= SENSITIVITIES * total + 1e-6


def test_with_much_time_probes_are_as_long_as_ever_and_with_none_nothing_further_is_begun():
    assert Budget(seconds=600).probe_seconds(100, 10, 2) == PROBE
    assert not Budget(seconds=60).may_measure_sensitivities(50)
    assert not Budget(seconds=60).may_make(20, 15)
    assert Budget(seconds=600).may_make(20, 15)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"max_evaluations": 0}, "--max-evaluations 0: must be more than 0"),
        ({"max_evaluations": -1}, "--max-evaluations -1: must be more than 0"),
        ({"max_evaluations": float("nan")}, "--max-evaluations nan: must be more than 0"),
        ({"max_time": float("nan")}, "--max-time nan: is too little to try one version"),
    ],
)
def test_a_budget_that_no_search_can_keep_to_is_refused(budget, says, tmp_path):
    config = reference_config()
    with pytest.raises(BadInput) as refused:
        qb.tune(config, out=tmp_path / "out", **budget)
    (mistake,) = refused.value.mistakes
    assert str(mistake).startswith(says)
    assert not (tmp_path / "out").exists()

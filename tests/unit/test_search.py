"""The search finds the fastest version that keeps the limit, with few trials, whatever the losses are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.analysis.intervals import Interval
from quantbench.tune.search import Ladder, Limit, Trial, Unit, excess, front, judge, next_version

harms = st.floats(0, 1)
units = st.lists(
    st.builds(Unit, st.uuids().map(str), harms, st.just(0.0), st.floats(0.001, 0.1)),
    max_size=12,
    unique_by=lambda u: u.name,
)
ladders = st.lists(
    st.builds(Ladder.sorted, st.uuids().map(str), st.floats(0.1, 2), units),
    min_size=1,
    max_size=5,
    unique_by=lambda x: x.family,
)


def search(ladders, loss, most=200):
    """Run a search to its end; ``loss`` of a ladder and a rung in units of the limit."""
    by_name, trials = {ladder.family: ladder for ladder in ladders}, []
    while (found := next_version(ladders, trials)) is not None:
        family, rung = found
        value = loss(by_name[family], rung)
        trials.append(Trial(family, rung, value, "passes" if value <= 1 else "fails"))
        assert len(trials) < most
    return trials


@given(ladders, st.floats(0.01, 10))
def test_no_version_is_tried_twice_and_the_search_ends(ladders, scale):
    trials = search(ladders, lambda ladder, rung: scale * ladder.harm(rung))
    assert len({(trial.family, trial.rung) for trial in trials}) == len(trials)


@given(ladders)
def test_if_everything_passes_only_what_is_as_fast_as_the_fastest_is_tried(ladders):
    trials = search(ladders, lambda ladder, rung: 0.0)
    fastest = min(ladder.time(0) for ladder in ladders)
    near = [ladder for ladder in ladders if ladder.time(0) <= fastest * 1.05]
    assert {trial.rung for trial in trials} == {0}
    assert next(x for x in ladders if x.family == trials[0].family).time(0) == fastest
    assert {trial.family for trial in trials} == {ladder.family for ladder in near}


@given(ladders, st.floats(0.05, 20))
def test_what_passed_is_as_fast_as_any_first_rung_that_would(ladders, scale):
    trials = search(ladders, lambda ladder, rung: scale * ladder.harm(rung))
    by_name = {ladder.family: ladder for ladder in ladders}
    passed = [by_name[t.family].time(t.rung) for t in trials if t.verdict == "passes"]
    possible = [ladder.time(0) for ladder in ladders if scale * ladder.harm(0) <= 1]
    if possible:
        assert min(passed) <= min(possible)


@given(units)
def test_a_ladder_never_gets_faster_or_worse_on_the_way_up(units):
    ladder = Ladder.sorted("one", 1.0, units)
    rungs = range(len(ladder.units) + 1)
    times, harm = [ladder.time(rung) for rung in rungs], [ladder.harm(rung) for rung in rungs]
    assert times == sorted(times)
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(harm))


def test_few_trials_find_the_rung_where_one_unit_does_all_the_harm():
    bad = Unit("bad", 5.0, 0.0, 0.01)
    ladder = Ladder.sorted("one", 1.0, [Unit(f"fine {i}", 0.001, 0.0, 0.01) for i in range(30)] + [bad])
    trials = search([ladder], lambda ladder, rung: ladder.harm(rung))
    assert [trial.rung for trial in trials] == [0, 1]


@pytest.mark.parametrize(
    ("interval", "last", "word"),
    [
        ((0.02, 0.011, 0.03), False, "fails"),
        ((0.001, -0.01, 0.009), False, "passes"),
        ((0.008, 0.0, 0.02), False, "open"),
        ((0.008, 0.0, 0.02), True, "passes"),
        ((0.012, 0.0, 0.02), True, "fails"),
        ((0.0, 0.0, 0.0), False, "open"),
        ((0.0, 0.0, 0.0), True, "passes"),
    ],
)
def test_judgements_at_a_limit_of_a_hundredth(interval, last, word):
    assert judge({"f1": Interval(*interval)}, {"f1": 0.01}, last) == word


def test_every_limit_counts():
    losses = {"f1": Interval(0.0, 0.0, 0.0), "recall": Interval(0.5, 0.4, 0.6)}
    assert judge(losses, {"f1": 0.01, "recall": 0.1}, False) == "fails"
    assert excess(losses, {"f1": 0.01, "recall": 0.1}) == pytest.approx(5)


def test_limits_may_be_shares_of_the_original():
    assert Limit(metric="f1", drop=0.01, relative=True).absolute(0.8) == pytest.approx(0.008)
    assert Limit(metric="f1", drop=0.01).absolute(0.8) == 0.01


points = st.dictionaries(
    st.text("abc", min_size=1, max_size=4), st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1
)


@given(points)
def test_the_front_beats_everything_else_and_nothing_on_it_is_beaten(points):
    names = front(points)
    assert names
    for name, (loss, seconds) in points.items():
        better = [o for o in names if points[o][0] <= loss and points[o][1] <= seconds and points[o] != (loss, seconds)]
        assert bool(better) != (name in names)

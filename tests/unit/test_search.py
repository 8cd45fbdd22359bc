"""The search finds the fastest version that keeps the limit, with few trials, whatever the losses are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.analysis.intervals import Interval
from quantbench.tune.search import Group, Limit, Schedule, Trial, excess, judge, next_version, pareto_front

sensitivities = st.floats(0, 1)
groups = st.lists(
    st.builds(Group, st.uuids().map(str), sensitivities, st.just(0.0), st.floats(0.001, 0.1)),
    max_size=12,
    unique_by=lambda u: u.name,
)
schedules = st.lists(
    st.builds(Schedule.sorted, st.uuids().map(str), st.floats(0.1, 2), groups),
    min_size=1,
    max_size=5,
    unique_by=lambda x: x.candidate,
)


def search(schedules, loss, most=200):
    """Run a search to its end; ``loss`` of a schedule and a step as a multiple of the limit."""
    by_name, trials = {schedule.candidate: schedule for schedule in schedules}, []
    while (found := next_version(schedules, trials)) is not None:
        candidate, step = found
        value = loss(by_name[candidate], step)
        trials.append(Trial(candidate, step, value, "passes" if value <= 1 else "fails"))
        assert len(trials) < most
    return trials


@given(schedules, st.floats(0.01, 10))
def test_no_version_is_tried_twice_and_the_search_ends(schedules, scale):
    trials = search(schedules, lambda schedule, step: scale * schedule.divergence(step))
    assert len({(trial.candidate, trial.step) for trial in trials}) == len(trials)


@given(schedules)
def test_if_everything_passes_only_what_is_as_fast_as_the_fastest_is_tried(schedules):
    trials = search(schedules, lambda schedule, step: 0.0)
    fastest = min(schedule.time(0) for schedule in schedules)
    near = [schedule for schedule in schedules if schedule.time(0) <= fastest * 1.05]
    assert {trial.step for trial in trials} == {0}
    assert next(x for x in schedules if x.candidate == trials[0].candidate).time(0) == fastest
    assert {trial.candidate for trial in trials} == {schedule.candidate for schedule in near}


@given(schedules, st.floats(0.05, 20))
def test_what_passed_is_as_fast_as_any_first_step_that_would(schedules, scale):
    trials = search(schedules, lambda schedule, step: scale * schedule.divergence(step))
    by_name = {schedule.candidate: schedule for schedule in schedules}
    passed = [by_name[t.candidate].time(t.step) for t in trials if t.verdict == "passes"]
    possible = [schedule.time(0) for schedule in schedules if scale * schedule.divergence(0) <= 1]
    if possible:
        assert min(passed) <= min(possible)


@given(groups)
def test_a_schedule_never_gets_faster_or_worse_with_a_step(groups):
    schedule = Schedule.sorted("one", 1.0, groups)
    steps = range(len(schedule.groups) + 1)
    times, sensitivity = [schedule.time(step) for step in steps], [schedule.divergence(step) for step in steps]
    assert times == sorted(times)
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(sensitivity))


def test_few_trials_find_the_step_where_one_group_does_all_the_harm():
    bad = Group("bad", 5.0, 0.0, 0.01)
    schedule = Schedule.sorted("one", 1.0, [Group(f"fine {i}", 0.001, 0.0, 0.01) for i in range(30)] + [bad])
    trials = search([schedule], lambda schedule, step: schedule.divergence(step))
    assert [trial.step for trial in trials] == [0, 1]


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
    names = pareto_front(points)
    assert names
    for name, (loss, seconds) in points.items():
        better = [o for o in names if points[o][0] <= loss and points[o][1] <= seconds and points[o] != (loss, seconds)]
        assert bool(better) != (name in names)

"""When a measurement looks whether it may stop, and when it does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.schema.results import ArmLatency, Slot
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.timing.looks import LONGEST, LOOKS, SOONEST, Watch, launch_looks


def session(rounds, noise, seed=0):
    """Two arms, one twice as fast, with independent noise of their slots."""
    times = 1e7 * np.exp(np.random.default_rng(seed).normal(scale=noise, size=(rounds, 2))) * (2, 1)
    return {
        name: ArmLatency(
            slots=tuple(Slot(round=r, order=2 * r + c, nanoseconds=(int(times[r, c]),)) for r in range(rounds)),
            load_seconds=(1.0,),
            first_call_seconds=(1.0,),
        )
        for c, name in enumerate(("slow", "fast"))
    }


def watch():
    return Watch(lambda _: None)


@given(st.floats(0.1, 3600))
def test_looks_are_each_a_good_deal_later_than_the_one_before(duration):
    looks = watch().looks(duration)
    assert looks[0] == pytest.approx(SOONEST * duration)
    assert looks[-1] == LONGEST * duration
    assert duration in looks
    growth = SOONEST ** (-1 / (LOOKS - 1))
    assert [later / sooner for sooner, later in pairwise(looks[:-1])] == pytest.approx([growth] * LOOKS)
    assert sorted(looks) == looks


@pytest.mark.parametrize(("noise", "precision", "enough"), [(0.001, 0.02, True), (0.2, 0.02, False), (0.2, 0.5, True)])
def test_a_measurement_ends_where_intervals_are_narrow(noise, precision, enough):
    args = TimeBenchmarkArgs(precision=precision)
    assert watch().enough(session(60, noise), "slow", False, args, whole=True) is enough


def test_few_rounds_are_not_enough():
    args = TimeBenchmarkArgs(precision=0.9)
    assert not watch().enough(session(5, 0.0001), "slow", False, args, whole=False)
    assert watch().enough(session(5, 0.0001), "slow", False, args, whole=True), "but a short duration is not doubled"


def test_several_launches_need_less_of_each():
    arms, told = session(60, 0.02), []
    one = Watch(told.append)
    one.enough(arms, "slow", False, TimeBenchmarkArgs(launches=1), whole=True)
    one.enough(arms, "slow", False, TimeBenchmarkArgs(launches=2), whole=True)
    first, second = (float(text.split("±")[1].split(" ")[0]) for text in told)
    assert second == pytest.approx(first / 2**0.5, abs=0.1)


@pytest.mark.parametrize(
    ("launches", "looks"), [(1, []), (2, []), (3, [3, 4, 6]), (4, [3, 4, 6, 8]), (8, [4, 6, 8, 11, 16])]
)
def test_launches_are_looked_at_from_half_to_twice_of_them(launches, looks):
    assert launch_looks(launches) == looks


def test_launches_that_agree_are_enough_and_those_that_do_not_are_not():
    told = []
    watch = Watch(told.append)
    agree = session(60, 0.01)
    args = TimeBenchmarkArgs(duration=1000)
    assert watch.enough_launches(agree, "slow", False, args)
    assert not watch.enough_launches(agree, "slow", False, args.model_copy(update={"precision": 1e-4}))
    assert len(told) == 2
    few = {name: arm.model_copy(update={"slots": arm.slots[:5]}) for name, arm in agree.items()}
    assert not watch.enough_launches(few, "slow", False, args), "there are too few rounds, and there is time"
    assert watch.enough_launches(few, "slow", False, args.model_copy(update={"duration": 0.01}))

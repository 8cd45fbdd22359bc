"""When a measurement looks whether it may stop, and when it does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.schema.results import ArmLatency, Slot
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.timing.looks import LONGEST, LOOKS, SOONEST, Watch


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
    one.enough(arms, "slow", False, TimeBenchmarkArgs(), whole=True)
    first, second = (float(text.split("±")[1].split(" ")[0]) for text in told)
    assert second == pytest.approx(first / 2, abs=0.1)

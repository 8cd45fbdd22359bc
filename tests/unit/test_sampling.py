"""Which calibration examples are chosen."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.quantize.calibration.sampling import choose
from quantbench.schema.settings import Calibration

AVAILABLE = st.integers(1, 500)
WANTED = st.integers(1, 600)
SEED = st.integers(0, 2**32)


def calibration(sampling: str, wanted: int, **more: int) -> Calibration:
    return Calibration(sampling=sampling, num_calibration_samples=wanted, **more)


@given(AVAILABLE, WANTED, st.sampled_from(["first", "random", "strided"]), SEED)
def test_indices_are_unique_ascending_in_range_and_as_many_as_there_can_be(available, wanted, sampling, seed):
    chosen = choose(available, calibration(sampling, wanted, seed=seed))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(wanted, available)
    assert chosen[0] >= 0 and chosen[-1] < available
    assert all(type(index) is int for index in chosen)


@given(AVAILABLE, WANTED)
def test_first_takes_the_first(available, wanted):
    assert choose(available, calibration("first", wanted)) == list(range(min(wanted, available)))


@given(AVAILABLE, WANTED, SEED)
def test_random_follows_from_the_seed(available, wanted, seed):
    settings = calibration("random", wanted, seed=seed)
    assert choose(available, settings) == choose(available, settings)


def test_random_differs_between_seeds_and_from_the_first():
    drawn = [tuple(choose(1000, calibration("random", 50, seed=seed))) for seed in range(5)]
    assert len({*drawn, tuple(range(50))}) == 6


def test_stride_4_of_100_takes_the_last_of_every_four():
    assert choose(100, calibration("strided", 25, stride=4)) == list(range(3, 100, 4))
    assert choose(14_041, calibration("strided", 25, stride=4)) == list(range(3, 100, 4))


@given(st.integers(1, 100), st.integers(1, 20), st.integers(0, 50))
def test_a_stride_takes_the_last_example_of_every_stride(wanted, stride, rest):
    chosen = choose(wanted * stride + rest, calibration("strided", wanted, stride=stride))
    assert chosen == [stride * (number + 1) - 1 for number in range(wanted)]


@given(AVAILABLE, WANTED)
def test_without_a_stride_samples_spread_evenly(available, wanted):
    chosen = choose(available, calibration("strided", wanted))
    assert len({after - before for before, after in pairwise(chosen)}) <= 1
    assert available - chosen[-1] <= chosen[0] + len(chosen)


@given(st.integers(2, 100), st.integers(2, 20), st.integers(1, 500))
def test_a_split_too_short_for_the_stride_is_refused(wanted, stride, missing):
    available = max(wanted * stride - missing, wanted)
    if available == wanted * stride:
        return
    with pytest.raises(
        ValueError, match=rf"stride {stride} need {wanted * stride} examples, the split has {available}"
    ):
        choose(available, calibration("strided", wanted, stride=stride))

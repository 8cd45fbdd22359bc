"""Order statistics of pairwise sums are exactly those of all sums, and need no room for them."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.analysis import pairwise
from quantbench.analysis.intervals import hodges_lehmann, shift, signed_rank_p
from quantbench.analysis.pairwise import Sums

NUMBERS = st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float)), min_size=1, max_size=12)


@pytest.fixture(params=[1, 30, pairwise.MOST_HELD])
def held(request, monkeypatch):
    """How many sums are held at once."""
    monkeypatch.setattr(pairwise, "MOST_HELD", request.param)


@pytest.mark.usefixtures("held")
@given(NUMBERS, NUMBERS, st.floats(-10, 10))
def test_sums_of_two_lists_are_ranked_and_counted_as_all_of_them(first, second, limit):
    every = np.sort(np.add.outer(np.array(first), np.sort(second)).ravel())
    sums = Sums(np.array(first), np.sort(second))
    assert sums.smallest(range(sums.count)) == every.tolist()
    for edge in (limit, float(every[len(every) // 2])):
        assert sums.above(edge) == (every > edge).sum() + (every == edge).sum() / 2


@pytest.mark.usefixtures("held")
@given(NUMBERS)
def test_sums_of_pairs_are_ranked_as_all_of_them(values):
    every = sorted(a + b for index, a in enumerate(values) for b in values[index:])
    sums = Sums.of_pairs(np.array(values))
    assert sums.smallest(range(sums.count)) == every


def test_twenty_minutes_of_rounds_need_little_memory():
    """Their pairwise means alone would be 0.6 GB."""
    values = np.random.default_rng(0).standard_t(3, (2, 12_000)).tolist()
    tracemalloc.start()
    interval = hodges_lehmann(values[0])
    signed_rank_p(values[0])
    moved, _ = shift(*values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
    assert interval.value == pytest.approx(0, abs=0.02)
    assert moved.value == pytest.approx(0, abs=0.03)

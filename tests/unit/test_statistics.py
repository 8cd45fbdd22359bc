"""Histograms that grow with what they see, and the ranges that are read from them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantbench.quantize.calibration.activations import TensorStatistics
from quantbench.quantize.calibration.ranges import BINS
from quantbench.quantize.mixed import int8
from quantbench.schema.settings import Calibration

FLOATS = arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(4)), elements=st.floats(-1000, 1000, width=32))


def gathered(samples):
    figures = TensorStatistics.empty(samples[0].shape[-1])
    for sample in samples:
        figures.add(sample)
    return figures


@given(st.lists(FLOATS, min_size=1, max_size=5))
def test_every_value_is_counted_once_and_lies_within(samples):
    figures, every = gathered(samples), np.concatenate(samples)
    assert figures.counts.sum() == every.size
    assert figures.edge >= np.abs(every).max()
    assert (figures.lows == every.min(axis=0)).all()
    assert (figures.highs == every.max(axis=0)).all()


@given(st.lists(FLOATS, min_size=2, max_size=5), st.randoms())
def test_the_order_of_samples_moves_no_value_by_more_than_a_bin(samples, random):
    shuffled = list(samples)
    random.shuffle(shuffled)
    one, other = gathered(samples), gathered(shuffled)
    assert one.edge == other.edge
    width = 2 * one.edge / BINS
    centres = -one.edge + width * (np.arange(BINS) + 0.5)
    means = [float((figures.counts * centres).sum() / figures.counts.sum()) for figures in (one, other)]
    assert means[0] == pytest.approx(means[1], abs=width)


@given(st.lists(FLOATS, min_size=1, max_size=3), st.sampled_from(["minmax", "percentile", "entropy", "mse"]))
def test_a_range_stays_within_what_was_seen(samples, method):
    figures = gathered(samples)
    low, high = figures.range(Calibration(method=method))
    assert figures.lows.min() <= low <= high <= figures.highs.max()


def test_least_error_cuts_off_a_single_outlier_and_nothing_of_a_uniform_tensor():
    generator = np.random.default_rng(0)
    normal = generator.normal(size=(400_000, 8)).astype(np.float32)
    calm = gathered([normal]).range(Calibration(method="mse"))
    normal[0, 0] = 60.0
    _low, high = gathered([normal]).range(Calibration(method="mse"))
    assert high < 40
    uniform = generator.uniform(-1, 1, size=(400_000, 8)).astype(np.float32)
    assert gathered([uniform]).range(Calibration(method="mse"))[1] > 0.97
    assert calm[1] < 5


def test_figures_survive_json():
    figures = gathered([np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)])
    again = TensorStatistics.load(json.loads(json.dumps(figures.dump())))
    assert (again.counts == figures.counts).all()
    assert again.range(Calibration()) == figures.range(Calibration())


# weights


@given(
    arrays.arrays(np.float32, (3, 4), elements=st.floats(-8, 8, width=32)),
    st.booleans(),
    st.sampled_from(["int8", "uint8"]),
)
def test_weights_are_off_by_at_most_half_a_step(matrix, per_channel, number_type):
    numbers, scale, zero = int8.quantize(matrix, number_type, per_channel)
    assert numbers.dtype == zero.dtype == np.dtype(number_type)
    back = (numbers.astype(np.float32) - zero.astype(np.float32)) * scale
    assert (np.abs(back - matrix) <= scale / 2 * 1.001 + 1e-30).all()
    assert scale.shape == ((4,) if per_channel else ())


@given(st.floats(-100, 100), st.floats(0, 100))
def test_zero_is_a_number_of_its_own(low, width):
    scale, zero = int8.activation(low, low + width)
    assert scale > 0
    assert 0 <= zero <= 255
    reach = (0 - float(zero)) * float(scale), (255 - float(zero)) * float(scale)
    assert reach[0] <= min(low, 0) + float(scale)
    assert reach[1] >= max(low + width, 0) - float(scale)

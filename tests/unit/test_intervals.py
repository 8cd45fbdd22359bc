"""Intervals cover what they should, and verdicts follow from them."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.analysis.intervals import (
    Interval,
    holm,
    inflation,
    paired_bootstrap,
    verdict,
)
from quantbench.tasks.token_classification import COLUMNS, metrics, metrics_from_counts

EIGHTHS = st.lists(st.integers(-(2**20), 2**20).map(lambda number: number / 8), min_size=6, max_size=40)
"""Numbers whose sums and halves are exact, so that ties stay ties."""
P_VALUES = st.lists(st.floats(0, 1), max_size=12)
TRIALS = 500
entity_metrics = partial(metrics, COLUMNS)


def triple(interval):
    return interval.value, interval.low, interval.high


# autocorrelation


def test_noise_that_alternates_or_is_constant_inflates_nothing():
    assert inflation([1, -1] * 20) == 1.0
    assert inflation([0.25] * 30) == 1.0
    assert inflation([0.25]) == inflation([]) == 1.0


@pytest.mark.parametrize(("phi", "low", "high"), [(0.0, 1.0, 1.4), (0.5, 2.4, 3.6), (0.8, 6.0, 11.0)])
def test_inflation_finds_the_autocorrelation_time(phi, low, high):
    """Of an AR(1) process it is (1 + phi) / (1 - phi)."""
    series = autoregressive(np.random.default_rng(3), (50, 400), phi)
    assert low < np.mean([inflation(one) for one in series]) < high


@given(EIGHTHS)
def test_inflation_depends_on_ranks_alone_and_never_narrows(values):
    assert inflation(values) >= 1
    assert inflation([2 * value + 3 for value in values]) == pytest.approx(inflation(values))
    assert inflation([-value for value in values]) == pytest.approx(inflation(values))
    assert inflation([math.copysign(abs(value) ** 2, value) for value in values]) == pytest.approx(inflation(values))


def autoregressive(generator, shape, phi):
    """AR(1) noise of unit variance along the last axis, started in its steady state."""
    noise = generator.normal(size=shape)
    for index in range(1, shape[-1]):
        noise[..., index] = phi * noise[..., index - 1] + math.sqrt(1 - phi**2) * noise[..., index]
    return noise


# Holm


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.04, 0.01, 0.03, 0.005], [0.06, 0.03, 0.06, 0.02]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_holm_by_hand(raw, adjusted):
    assert holm(raw) == pytest.approx(adjusted)


@given(P_VALUES)
def test_holm_never_lowers_and_keeps_the_order(values):
    adjusted = holm(values)
    assert all(raw <= new <= 1 for raw, new in zip(values, adjusted, strict=True))
    ranked = sorted(zip(values, adjusted, strict=True))
    assert [new for _, new in ranked] == sorted(adjusted)


@given(P_VALUES, st.randoms())
def test_holm_belongs_to_the_value_not_to_its_place(values, random):
    places = list(range(len(values)))
    random.shuffle(places)
    assert holm([values[place] for place in places]) == [holm(values)[place] for place in places]


@given(P_VALUES)
def test_holm_rejects_as_its_definition_does(values):
    """Step down: the k-th smallest of m is rejected while all before it are and it is below alpha / (m - k + 1)."""
    adjusted = holm(values)
    rejecting = True
    for rank, index in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        rejecting = rejecting and (len(values) - rank) * values[index] < 0.05
        assert (adjusted[index] < 0.05) == rejecting


# verdicts


@pytest.mark.parametrize(
    ("ratio", "p_value", "noise_floor", "word"),
    [
        ((1.2, 1.1, 1.3), 0.001, 0.02, "faster"),
        ((0.8, 0.7, 0.9), 0.001, 0.02, "slower"),
        ((1.2, 0.9, 1.5), 0.001, 0.02, "inconclusive"),
        ((1.2, 1.0, 1.4), 0.001, 0.0, "inconclusive"),
        ((0.8, 0.6, 1.0), 0.001, 0.0, "inconclusive"),
        ((1.2, 1.1, 1.3), 0.2, 0.02, "inconclusive"),
        ((1.2, 1.1, 1.3), 0.05, 0.02, "inconclusive"),
        ((1.2, 1.1, 1.3), 0.0499, 0.02, "faster"),
        ((1.02, 1.01, 1.03), 0.001, 0.05, "inconclusive"),
        ((1.05, 1.04, 1.06), 0.001, 0.05, "inconclusive"),
        ((1 / 1.05, 0.94, 0.96), 0.001, 0.05, "inconclusive"),
        ((1.051, 1.04, 1.06), 0.001, 0.05, "faster"),
        ((1 / 1.051, 0.94, 0.96), 0.001, 0.05, "slower"),
        ((1.001, 1.0005, 1.0015), 0.001, 0.0, "faster"),
    ],
)
def test_verdicts(ratio, p_value, noise_floor, word):
    assert verdict(Interval(*ratio), p_value, noise_floor) == word


# paired bootstrap


def sentences(generator, count, skill):
    """Counts of two arms for the same sentences, correlated through how hard each sentence is."""
    reference = generator.poisson(2.0, count)
    hardness = generator.normal(0, 1, count)
    words = reference + 5 + generator.poisson(10, count)
    arms = []
    shared = generator.random((count, reference.max(initial=1)))
    for bonus in skill:
        own = generator.random(shared.shape)
        luck = np.where(generator.random(shared.shape) < 0.9, shared, own)
        found = luck < (1 / (1 + np.exp(-(bonus - hardness))))[:, None]
        correct = (found & (np.arange(shared.shape[1]) < reference[:, None])).sum(axis=1)
        predicted = correct + generator.poisson(0.2 + 0.05 * (reference - correct))
        right = words - (reference - correct) - (predicted - correct).clip(0, 5)
        arms.append(np.stack([correct, predicted, reference, right, words], axis=1))
    return arms


SKILL = (2.0, 1.7)


def test_the_bootstrap_covers_the_true_differences(record_property):
    first, second = (
        metrics_from_counts(arm.sum(axis=0)) for arm in sentences(np.random.default_rng(9), 1_000_000, SKILL)
    )
    truth = {name: second[name] - first[name] for name in first}
    assert truth["f1"] < -0.01
    generator = np.random.default_rng(10)
    covered = dict.fromkeys(truth, 0)
    for trial in range(TRIALS):
        original, optimized = sentences(generator, 220, SKILL)
        intervals = paired_bootstrap(original, optimized, entity_metrics, seed=trial, resamples=400)
        for name, interval in intervals.items():
            covered[name] += interval.low <= truth[name] <= interval.high
    record_property("coverage", {name: float(count / TRIALS) for name, count in covered.items()})
    assert all(0.92 <= count / TRIALS <= 0.98 for count in covered.values()), covered


def test_the_bootstrap_reports_the_difference_of_the_sums():
    original, optimized = sentences(np.random.default_rng(1), 50, SKILL)
    first, second = metrics_from_counts(original.sum(axis=0)), metrics_from_counts(optimized.sum(axis=0))
    for name, interval in paired_bootstrap(original, optimized, entity_metrics).items():
        assert interval.value == pytest.approx(second[name] - first[name])
        assert interval.low <= interval.value <= interval.high


def test_the_bootstrap_follows_from_its_seed():
    arms = sentences(np.random.default_rng(1), 50, SKILL)
    again = [paired_bootstrap(*arms, entity_metrics, seed=seed, resamples=100) for seed in (0, 0, 1)]
    assert again[0] == again[1]
    assert again[0]["f1"] != again[2]["f1"]


def test_equal_arms_differ_by_nothing_at_all():
    original, _ = sentences(np.random.default_rng(1), 50, SKILL)
    for interval in paired_bootstrap(original, original.tolist(), entity_metrics, resamples=50).values():
        assert triple(interval) == (0, 0, 0)


def test_the_other_order_mirrors_the_intervals():
    original, optimized = sentences(np.random.default_rng(1), 50, SKILL)
    forth = paired_bootstrap(original, optimized, entity_metrics, resamples=200)["f1"]
    back = paired_bootstrap(optimized, original, entity_metrics, resamples=200)["f1"]
    assert triple(back) == pytest.approx((-forth.value, -forth.high, -forth.low))


def test_pairing_narrows_the_interval():
    original, optimized = sentences(np.random.default_rng(2), 300, SKILL)
    paired = paired_bootstrap(original, optimized, entity_metrics, resamples=400)["f1"]
    other = optimized[np.random.default_rng(3).permutation(len(optimized))]
    unpaired = paired_bootstrap(original, other, entity_metrics, resamples=400)["f1"]
    assert paired.value == unpaired.value
    assert paired.half_width < 0.8 * unpaired.half_width


def test_a_single_example_has_nothing_to_resample():
    found = paired_bootstrap([(1, 2, 3, 4, 5)], [(3, 3, 3, 5, 5)], entity_metrics, resamples=10)
    assert triple(found["recall"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert triple(found["accuracy"]) == pytest.approx((0.2, 0.2, 0.2))


def test_resamples_without_any_entity_score_nothing():
    nothing = [(0, 0, 0, 5, 5), (0, 0, 0, 4, 5)]
    assert triple(paired_bootstrap(nothing, nothing, entity_metrics, resamples=10)["f1"]) == (0, 0, 0)

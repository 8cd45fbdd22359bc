"""Intervals cover what they should, and verdicts follow from them."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, wilcoxon

from quantbench.analysis import speedups
from quantbench.analysis.intervals import (
    FEWEST_PAIRS,
    Interval,
    hodges_lehmann,
    holm,
    inflation,
    paired_bootstrap,
    shift,
    signed_rank_p,
    stretch,
    verdict,
)
from quantbench.schema.results import ArmLatency, Slot
from quantbench.tasks.token_classification import COLUMNS, metrics, metrics_from_counts

EIGHTHS = st.lists(st.integers(-(2**20), 2**20).map(lambda number: number / 8), min_size=FEWEST_PAIRS, max_size=40)
"""Numbers whose sums and halves are exact, so that ties stay ties."""
P_VALUES = st.lists(st.floats(0, 1), max_size=12)
TRIALS = 500
RATIO = 1.3


entity_metrics = partial(metrics, COLUMNS)


def walsh(values):
    return sorted((a + b) / 2 for index, a in enumerate(values) for b in values[index:])


def triple(interval):
    return interval.value, interval.low, interval.high


# Hodges-Lehmann


@given(EIGHTHS)
def test_the_centre_is_the_median_of_all_pairwise_means(values):
    assert hodges_lehmann(values).value == np.median(walsh(values))


@given(EIGHTHS)
def test_the_interval_holds_the_centre_and_is_at_most_the_stretched_range(values):
    interval, factor = hodges_lehmann(values), stretch(values)
    assert interval.low <= interval.value <= interval.high
    slack = 1e-9 * max(map(abs, values))
    assert interval.value - interval.low <= (interval.value - min(values)) * factor + slack
    assert interval.high - interval.value <= (max(values) - interval.value) * factor + slack
    assert interval.half_width == (interval.high - interval.low) / 2


@given(EIGHTHS, st.integers(-1000, 1000))
def test_a_shift_moves_centre_and_edges(values, shift):
    moved = triple(hodges_lehmann([value + shift for value in values]))
    assert moved == pytest.approx(tuple(edge + shift for edge in triple(hodges_lehmann(values))))


@given(EIGHTHS)
def test_the_other_sign_mirrors_the_interval(values):
    interval = hodges_lehmann(values)
    assert triple(hodges_lehmann([-value for value in values])) == (-interval.value, -interval.high, -interval.low)


@given(EIGHTHS, st.sampled_from([0.25, 2, 1024]))
def test_a_scale_stretches_the_interval(values, scale):
    stretched = triple(hodges_lehmann([value * scale for value in values]))
    assert stretched == tuple(edge * scale for edge in triple(hodges_lehmann(values)))


def test_six_pairs_give_their_range_as_there_is_nothing_more_certain():
    # the chance that all six lie on one side is 2/64; leaving out the outermost mean on each side would make it 4/64
    values = [1, -2, 32, 8, 64, -16]
    assert stretch(values) == 1
    interval = hodges_lehmann(values)
    assert (interval.low, interval.high) == (-16, 64)


def test_fewer_than_six_pairs_give_no_interval():
    with pytest.raises(ValueError, match="at least 6 pairs, there are 5"):
        hodges_lehmann([1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="there are 0"):
        hodges_lehmann([])


def test_one_burst_moves_neither_centre_nor_edges_far():
    calm = np.random.default_rng(0).normal(0.2, 0.01, 50)
    burst = calm.copy()
    burst[7] = 100.0
    assert triple(hodges_lehmann(burst)) == pytest.approx(triple(hodges_lehmann(calm)), abs=0.003)


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


def test_lasting_noise_widens_the_interval():
    calm = np.random.default_rng(1).normal(size=60)
    lasting = np.sort(calm)
    assert hodges_lehmann(lasting).half_width > 2 * hodges_lehmann(calm).half_width
    assert hodges_lehmann(lasting).value == hodges_lehmann(calm).value


@given(EIGHTHS)
def test_the_stretch_is_at_least_the_root_of_the_inflation(values):
    assert stretch(values) >= math.sqrt(inflation(values)) or stretch(values) == inflation(values) == 1


def test_a_burst_of_many_rounds_does_not_decide_the_width():
    """Eight slow rounds in a row of 144 whose other noise lasts too."""
    noise = 0.004 * autoregressive(np.random.default_rng(4), (144,), 0.7)
    burst = noise.copy()
    burst[60:68] -= 0.2
    assert hodges_lehmann(burst).half_width < 3 * hodges_lehmann(noise).half_width


# signed-rank test


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [8, 30, 100])
def test_p_is_that_of_scipy_for_a_nearer_hypothesis(count, seed):
    values = np.random.default_rng(seed).normal(0.15, 1, count)
    nearer = values - hodges_lehmann(values).value * (1 - 1 / stretch(values))
    assert signed_rank_p(values) == pytest.approx(wilcoxon(nearer, correction=True, method="approx").pvalue)


@pytest.mark.parametrize("shift", [0.0, 0.3, -1.0])
def test_p_is_that_of_scipy_where_nothing_is_autocorrelated(shift):
    values = np.sort(np.random.default_rng(2).normal(size=40))
    alternating = np.concatenate([values[:20], values[20:][::-1]]).reshape(2, 20).T.ravel() + shift
    assert inflation(alternating) == 1.0
    assert signed_rank_p(alternating) == pytest.approx(wilcoxon(alternating, correction=True, method="approx").pvalue)


@given(EIGHTHS, st.integers(-(2**18), 2**18))
def test_p_is_below_five_percent_exactly_where_the_interval_excludes_zero(values, shift):
    moved = [value + shift for value in values]
    interval = hodges_lehmann(moved)
    assume(min(abs(interval.low), abs(interval.high)) > 1e-6 * max(map(abs, values)))
    assert (signed_rank_p(moved) < 0.05) == (not interval.low <= 0 <= interval.high)


@given(EIGHTHS)
def test_p_is_a_probability_and_blind_to_the_sign(values):
    assert 0 <= signed_rank_p(values) <= 1
    assert signed_rank_p([-value for value in values]) == pytest.approx(signed_rank_p(values))


def test_differences_of_zero_prove_nothing():
    assert signed_rank_p([0.0] * 50) == 1.0
    assert triple(hodges_lehmann([0.0] * 50)) == (0, 0, 0)


def test_few_differences_prove_nothing_until_they_all_agree():
    assert signed_rank_p([1, 2, 3, 4, 5]) == signed_rank_p([]) == 1.0
    assert signed_rank_p([1, 6, 2, 5, 3, 4]) < 0.05
    assert signed_rank_p([-1, 6, 2, 5, 3, 4]) > 0.05
    assert signed_rank_p([1, 2, 3, 4, 5, 6]) > 0.05, "what rises all the time is not six independent numbers"


# coverage of the whole chain, from slots as they are timed


def autoregressive(generator, shape, phi):
    """AR(1) noise of unit variance along the last axis, started in its steady state."""
    noise = generator.normal(size=shape)
    for index in range(1, shape[-1]):
        noise[..., index] = phi * noise[..., index - 1] + math.sqrt(1 - phi**2) * noise[..., index]
    return noise


def arm_logs(generator, phi, burst_rate, rounds):
    """An arm's own disturbances: lasting noise of 2 %, and bursts with a tail so heavy that it has no variance."""
    noise = 0.02 * autoregressive(generator, (TRIALS, rounds), phi)
    bursts = generator.random((TRIALS, rounds)) < burst_rate
    return noise + bursts * np.log1p(0.1 * (1 + generator.pareto(1.5, (TRIALS, rounds))))


def drift_logs(generator, rounds):
    """What all arms of a round share: a random walk and a slow wave."""
    walk = np.cumsum(0.01 * generator.normal(size=(TRIALS, rounds)), axis=1)
    return walk + 0.1 * np.sin(np.linspace(0, 5, rounds) + generator.uniform(0, 6, (TRIALS, 1)))


def as_arm(milliseconds, generator):
    slots = []
    for number, middle in enumerate(milliseconds):
        calls = middle * 1e6 * (1 + 0.005 * generator.normal(size=3))
        slots.append(Slot(round=number, order=number, nanoseconds=tuple(int(call) for call in calls)))
    return ArmLatency(slots=tuple(slots), load_seconds=(), first_call_seconds=())


def held_up_logs(generator, kind, rounds):
    """What the undisturbed machine would not show: a neighbour that slows one arm more, or a process that comes and goes.

    Shape (2, trials, rounds); ``long``: both arms in one stretch of a fifth to four fifths of the rounds, by other
    factors; ``short``: for 3 to 19 slots at a time with pauses as long, each slot by up to a factor of two.
    """
    slowed = np.zeros((TRIALS, 2 * rounds))
    if kind == "short":
        for trial in slowed:
            place, on = 0, generator.random() < 0.5
            while place < len(trial):
                length = int(generator.integers(3, 20))
                part = trial[place : place + length]
                part += on * np.log1p(generator.random(len(part)))
                place, on = place + length, not on
    else:
        cuts = generator.integers(rounds // 5, rounds - rounds // 5, (TRIALS, 1))
        late = generator.random((TRIALS, 1)) < 0.5
        held = (np.arange(rounds) < cuts) ^ late
        slowed[:, ::2], slowed[:, 1::2] = 0.18 * held, 0.5 * held
    return slowed[:, ::2], slowed[:, 1::2]


def measured_logs(phis, burst_rate, drifting, rounds=100, states=None):
    generator = np.random.default_rng(0)
    shared = drift_logs(generator, rounds) if drifting else np.zeros((TRIALS, rounds))
    held = held_up_logs(generator, states, rounds) if states else (0, 0)
    slow = 30 * RATIO * np.exp(shared + held[0] + arm_logs(generator, phis[0], burst_rate, rounds))
    fast = 30 * np.exp(shared + held[1] + arm_logs(generator, phis[1], burst_rate, rounds))
    for first, second in zip(slow, fast, strict=True):
        arms = {"slow": as_arm(first, generator), "fast": as_arm(second, generator)}
        yield speedups.undisturbed_rounds(arms, "fast", "slow", mixed=False)


def coverage(measured):
    """Share of the trials whose interval covers the true ratio, and the median half-width."""
    covered, widths = 0, []
    for rounds in measured:
        interval = hodges_lehmann(rounds.logs)
        covered += interval.low <= math.log(RATIO) <= interval.high
        widths.append(interval.half_width)
        assert (signed_rank_p(rounds.logs) < 0.05) == (interval.low > 0)
    return float(covered / TRIALS), float(np.median(widths))


@pytest.mark.parametrize(
    ("phis", "burst_rate", "drifting", "rounds"),
    [
        pytest.param((0.0, 0.0), 0.0, False, 100, id="independent"),
        pytest.param((0.0, 0.0), 0.05, True, 100, id="drift and bursts"),
        pytest.param((0.3, 0.3), 0.0, False, 100, id="lasting noise"),
        pytest.param((0.3, 0.3), 0.05, True, 100, id="lasting noise, drift and bursts"),
        pytest.param((0.5, 0.5), 0.0, True, 100, id="longer noise and drift"),
        pytest.param((0.5, 0.5), 0.05, True, 100, id="longer noise, drift and bursts"),
        pytest.param((0.5, 0.0), 0.05, True, 100, id="one arm with longer noise"),
        pytest.param((0.3, 0.3), 0.05, True, 30, id="few rounds"),
        pytest.param((0.7, 0.7), 0.0, True, 100, id="very long noise and drift"),
    ],
)
def test_intervals_cover_the_true_ratio(phis, burst_rate, drifting, rounds, record_property):
    covered, _ = coverage(measured_logs(phis, burst_rate, drifting, rounds))
    record_property("coverage", covered)
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize(
    ("phi", "burst_rate", "rounds", "states", "width"),
    [
        pytest.param(0.0, 0.0, 100, "long", 0.015, id="another state for a time"),
        pytest.param(0.3, 0.05, 100, "long", 0.02, id="another state for a time, lasting noise, bursts"),
        pytest.param(0.0, 0.0, 100, "short", 0.02, id="a process that comes and goes"),
        pytest.param(0.3, 0.05, 100, "short", 0.03, id="a process that comes and goes, lasting noise, bursts"),
        pytest.param(0.3, 0.0, 40, "short", 0.04, id="a process that comes and goes, few rounds"),
        pytest.param(0.3, 0.0, 25, "short", 0.08, id="a process that comes and goes, fewest rounds"),
    ],
)
def test_intervals_cover_the_ratio_of_the_undisturbed_machine(phi, burst_rate, rounds, states, width, record_property):
    covered, half_width = coverage(measured_logs((phi, phi), burst_rate, False, rounds, states))
    record_property("coverage", covered)
    assert 0.92 <= covered <= 0.98
    assert half_width < width, "many times as wide with the held-up rounds among the others"


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


# shift of two samples


def autocorrelated(generator, trials, rounds, lag):
    """Normal noise with this lag-1 correlation, shape (trials, rounds)."""
    noise = generator.normal(0, 1, (trials, rounds))
    noise[:, 1:] *= math.sqrt(1 - lag**2)
    for index in range(1, rounds):
        noise[:, index] += lag * noise[:, index - 1]
    return noise


@pytest.mark.parametrize("lag", [0.0, 0.3, 0.5])
def test_the_interval_of_a_shift_covers_it_under_lasting_noise(lag, record_property):
    """Without allowing for autocorrelation it covers 95, 86 and 76 %."""
    generator = np.random.default_rng(11)
    samples = zip(*(autocorrelated(generator, TRIALS, 100, lag) for _ in range(2)), strict=True)
    found = [shift(first.tolist(), (second + 0.5).tolist())[0] for first, second in samples]
    covered = sum(interval.low <= 0.5 <= interval.high for interval in found) / TRIALS
    record_property("coverage", covered)
    assert covered >= 0.93


def test_p_of_a_shift_is_that_of_mann_and_whitney_where_nothing_is_autocorrelated():
    ranked = np.sort(np.random.default_rng(5).permutation(np.arange(80.0)).reshape(2, 40))
    first, second = (np.stack([row[:20], row[20:][::-1]], axis=1).ravel() for row in ranked)
    assert stretch(first.tolist(), second.tolist()) == 1
    wanted = mannwhitneyu(first, second, method="asymptotic").pvalue
    assert shift(first.tolist(), second.tolist())[1] == pytest.approx(wanted)


@given(EIGHTHS, EIGHTHS, st.integers(-8, 8))
def test_p_of_a_shift_is_below_five_percent_only_where_its_interval_excludes_zero(first, second, offset):
    interval, p_value = shift(first, [value + offset for value in second])
    assert not (p_value < 0.04 and interval.low <= 0 <= interval.high)
    assert not (p_value > 0.06 and (interval.low > 0 or interval.high < 0)) or len(first) * len(second) < 200


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

"""What a call takes on the undisturbed machine: one estimand for all rows, and intervals that cover what they should."""

from __future__ import annotations

import gzip
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantbench.analysis import speedups, undisturbed
from quantbench.schema.results import ArmLatency, Latency, Noise, Slot

LOADED = Path(__file__).parent.parent / "golden" / "loaded_session.json.gz"
"""The float export of the embedded model, the same again, and with 3, 10 and 60 % more layers, while others worked."""
TRIALS = 300
RATIO = 1.3


def session(columns, launches=None):
    """Arms by name from milliseconds of their slots in the order of rounds; launches by round, all the first if None."""
    count = len(next(iter(columns.values())))
    places = [(0, number) for number in range(count)] if launches is None else launches
    return {
        name: ArmLatency(
            slots=tuple(
                Slot(launch=launch, round=number, order=number, nanoseconds=(max(1, round(1e6 * value)),))
                for (launch, number), value in zip(places, values, strict=True)
            ),
            load_seconds=(),
            first_call_seconds=(),
        )
        for name, values in columns.items()
    }


def noisy(seed, rounds=40, **means):
    generator = np.random.default_rng(seed)
    return {name: mean * np.exp(0.01 * generator.normal(size=rounds)) for name, mean in means.items()}


def ratio(arms, arm="b", against="a"):
    found = undisturbed.session(arms, mixed=False)
    return found.ratio(arm, against)


def ratio_of(arms, mixed):
    return undisturbed.session(arms, mixed).ratio("b", "a")


def triple(interval):
    return interval.value, interval.low, interval.high


# one estimand


@pytest.mark.parametrize("mixed", [False, True])
def test_what_calls_waited_for_a_cpu_is_no_part_of_a_ratio(mixed):
    """Each call is held up by up to four times what it takes, one arm's far more often than the other's."""
    generator = np.random.default_rng(0)

    def arm(mean, share):
        slots = []
        for number in range(40):
            calls = np.rint(1e6 * mean * np.exp(0.01 * generator.normal(size=3))).astype(int)
            waits = np.rint(calls * generator.uniform(0, 4, size=3) * (generator.random(3) < share)).astype(int)
            own, waited = (tuple(found.tolist()) for found in (calls + waits, waits))
            slots.append(Slot(round=number, order=number, nanoseconds=own, waited_nanoseconds=waited))
        return ArmLatency(slots=tuple(slots), load_seconds=(), first_call_seconds=())

    arms = {"a": arm(13.0, 0.9), "b": arm(10.0, 0.2)}
    assert math.exp(ratio_of(arms, mixed).value) == pytest.approx(1.3, rel=0.005)
    assert ratio_of(arms, mixed).interval.half_width < 0.01
    assert undisturbed.undisturbed_ms(arms["a"], mixed) == pytest.approx(13.0, rel=0.02)


@pytest.fixture(scope="module")
def loaded():
    return Latency.model_validate_json(gzip.decompress(LOADED.read_bytes()))


def test_all_rows_of_a_loaded_session_are_found_from_the_same_rounds(loaded):
    rows = [speedups.Timed(loaded, name, speedups.BASELINE, 0.02) for name in loaded.arms if name != "pytorch"]
    assert {speedup.rounds for speedup in speedups.judged(rows)} == {len(loaded.arms["pytorch"].slots)}


def test_ratios_of_a_loaded_session_are_those_of_the_layers_that_were_added(loaded):
    """3, 10 and 60 % more multiplications: some 2, 7 and 44 % more time, as quiet sessions of the same files had it.

    The tenth of each arm's slots says 1.015, 1.003 and 1.340 here, where nine of ten slots were disturbed.
    """
    rows = [speedups.Timed(loaded, "pytorch", name, 0.02) for name in ("null", "3%", "10%", "60%")]
    found = [speedup.ratio for speedup in speedups.judged(rows)]
    assert found == pytest.approx([1, 1.02, 1.07, 1.44], abs=0.03)


def test_nothing_is_called_of_a_file_against_itself_in_a_loaded_session(loaded):
    (null,) = speedups.judged([speedups.Timed(loaded, speedups.NULL, speedups.BASELINE, 0.02)])
    assert null.verdict == "inconclusive"


# what holds for all


@given(st.integers(0, 1000), st.integers(2, 100))
def test_other_units_change_nothing(seed, factor):
    columns = {name: values.round(3) for name, values in noisy(seed, a=30.0, b=10.0).items()}
    scaled = {name: factor * values for name, values in columns.items()}
    assert triple(ratio(session(scaled)).interval) == pytest.approx(triple(ratio(session(columns)).interval), abs=1e-5)


@given(st.integers(0, 1000))
def test_the_other_way_round_only_the_sign_changes(seed):
    arms = session(noisy(seed, a=30.0, b=10.0))
    forth, back = ratio(arms, "b", "a"), ratio(arms, "a", "b")
    value, low, high = triple(forth.interval)
    assert triple(back.interval) == pytest.approx((-value, -high, -low), abs=1e-6)
    assert back.p_value == pytest.approx(forth.p_value, rel=1e-4)


@given(st.integers(0, 1000), st.floats(1.1, 3), st.floats(1.1, 3), st.floats(0.1, 0.6))
def test_interference_moves_the_ratio_by_less_than_the_noise(seed, first, second, share):
    """Whatever factors slow the arms, in whatever rounds they do."""
    columns = noisy(seed, rounds=100, a=30.0, b=10.0)
    hit = np.random.default_rng(seed + 1).random(100) < share
    disturbed = {name: values * np.where(hit, {"a": first, "b": second}[name], 1) for name, values in columns.items()}
    assert ratio(session(disturbed)).value == pytest.approx(ratio(session(columns)).value, abs=0.02)


@given(st.integers(0, 1000), st.floats(-0.03, 0.03))
def test_p_is_below_five_percent_exactly_where_the_interval_excludes_one(seed, shift):
    found = ratio(session(noisy(seed, a=30.0, b=30.0 * math.exp(shift))))
    interval = found.interval
    assert interval.low <= interval.value <= interval.high
    if min(abs(interval.low), abs(interval.high)) > 1e-9:
        assert (found.p_value < 0.05) == (not interval.low <= 0 <= interval.high)
    assert 0 <= found.p_value <= 1


def test_the_same_session_gives_the_same_interval():
    arms = session(noisy(0, a=30.0, b=10.0))
    assert triple(ratio(arms).interval) == triple(ratio(session(noisy(0, a=30.0, b=10.0))).interval)


def test_equal_slots_have_no_width_and_prove_nothing():
    found = ratio(session({"a": [5.0] * 20, "b": [5.0] * 20}))
    assert triple(found.interval) == (0, 0, 0)
    assert found.p_value == 1
    certain = ratio(session({"a": [10.0] * 20, "b": [5.0] * 20}))
    assert certain.p_value == 0


def test_too_few_rounds_give_no_interval():
    assert undisturbed.session(session(noisy(0, rounds=9, a=1.0, b=1.0)), mixed=False) is None
    assert undisturbed.session(session(noisy(0, rounds=10, a=1.0, b=1.0)), mixed=False) is not None
    assert undisturbed.session({}, mixed=False) is None
    apart = session(noisy(0, a=1.0)) | session(noisy(0, b=1.0), [(1, number) for number in range(40)])
    assert undisturbed.session(apart, mixed=False) is None, "no round has both"


def test_small_p_values_are_told_apart_for_many_rows():
    p_values = [ratio(session(noisy(0, rounds=100, a=30.0, b=30.0 / (1 + by)))).p_value for by in (0.02, 0.05, 0.2)]
    assert p_values == sorted(p_values, reverse=True)
    assert p_values[-1] < 1e-6


def test_the_widest_half_width_is_that_of_the_noisiest_arm():
    columns = noisy(0, rounds=60, a=30.0, b=10.0)
    columns["c"] = 20 * np.exp(0.1 * np.random.default_rng(5).normal(size=60))
    arms = session(columns)
    assert undisturbed.widest(arms, "a", mixed=False) == ratio(arms, "c", "a").interval.half_width
    assert undisturbed.widest(arms, "x", mixed=False) is None


# blocks


def test_blocks_stay_within_their_launch():
    launches, length = [7, 12, 5], 4
    (rounds,) = undisturbed.draws(launches, length, resamples=200)
    assert rounds.shape == (200, 24)
    for column, (low, high) in {3: (0, 7), 10: (7, 19), 20: (19, 24)}.items():
        assert rounds[:, column].min() == low
        assert rounds[:, column].max() == high - 1
    steps = (rounds[:, 1] - rounds[:, 0]) % 7
    assert (steps == 1).all(), "the first two rounds are neighbours in a circle"


def test_every_round_is_drawn_as_often():
    (rounds,) = undisturbed.draws([20], 3, resamples=5000)
    counts = np.bincount(rounds.ravel(), minlength=20)
    assert counts == pytest.approx(5000, rel=0.1)


def test_draws_are_the_same_however_many_are_made_together(monkeypatch):
    (whole,) = undisturbed.draws([30, 10], 3, resamples=50)
    assert len(whole) == 50
    assert (whole == next(undisturbed.draws([30, 10], 3, resamples=50))).all()
    monkeypatch.setattr(undisturbed, "MOST_DRAWN", 400)
    parts = list(undisturbed.draws([30, 10], 3, resamples=50))
    assert [len(part) for part in parts] == [10] * 5


def test_lasting_noise_makes_blocks_longer_and_intervals_wider():
    generator = np.random.default_rng(1)
    calm = np.exp(0.01 * generator.normal(size=100))
    lasting = np.exp(0.01 * autoregressive(generator, (100,), 0.9))
    lengths = [undisturbed.block_length(np.log(values), np.ones(100), [100]) for values in (calm, lasting)]
    assert lengths[0] < 10 < lengths[1] <= 25
    widths = [ratio(session({"a": values, "b": calm[::-1]})).interval.half_width for values in (calm, lasting)]
    assert widths[1] > 1.3 * widths[0]


def test_states_that_last_do_not_make_blocks_longer():
    """Rounds that count little follow each other; the sides of those that count are independent all the same."""
    logs = 0.01 * np.random.default_rng(1).normal(size=(50, 100))
    weights = np.where(np.arange(100) // 5 % 2 == 1, 0.01, 1.0)
    assert np.median([undisturbed.block_length(one, weights, [100]) for one in logs]) < 10


# what lasts as long as a process


def test_noise_between_launches_adds_up_with_that_within():
    alone = ratio(session(noisy(0, rounds=100, a=30.0, b=10.0)))
    wide = alone.widened(0.02, 1000)
    assert wide.value == alone.value
    spread = math.hypot(alone.interval.half_width / 1.96, 0.02)
    assert wide.interval.half_width == pytest.approx(1.96 * spread, rel=0.1)
    assert alone.widened(0.0, 8) is alone
    slight = ratio(session(noisy(0, rounds=100, a=30.0, b=29.8)))
    assert slight.widened(0.02, 1000).p_value > 0.05 > slight.p_value


def test_few_launches_say_little_of_what_they_differ_by():
    alone = ratio(session(noisy(0, rounds=100, a=30.0, b=10.0)))
    assert alone.widened(0.02, 3).interval.half_width > 1.3 * alone.widened(0.02, 100).interval.half_width


def test_a_speedup_holds_what_launches_differ_by_and_the_null_arm_does_not():
    columns = {speedups.BASELINE: 30.0, speedups.NULL: 30.0, "optimized": 10.0}
    made = session(noisy(0, rounds=100, **columns))
    arms = {name: arm.model_copy(update={"load_seconds": (1.0,)}) for name, arm in made.items()}
    latency = Latency(batch_size=1, input_length=8, arms=arms)
    noise = Noise(ratios=(0.03, -0.03, 0.03, -0.03), measured_at="2026-01-01T00:00:00+00:00")
    known = latency.model_copy(update={"noise": noise})
    halves = [
        speedups.log_ratio(each, arm, speedups.BASELINE).interval.half_width
        for arm in ("optimized", speedups.NULL)
        for each in (latency, known)
    ]
    assert halves[1] > 5 * halves[0]
    assert halves[3] == halves[2]


def launched(seed, launches, between, rounds=24, **means):
    """Arms that each launch favours or not, by a normal deviation of so much."""
    generator = np.random.default_rng(seed)
    columns = {
        name: mean * np.exp(np.repeat(between * generator.normal(size=launches), rounds // launches))
        for name, mean in means.items()
    }
    noise = {name: np.exp(0.01 * generator.normal(size=rounds)) for name in means}
    places = [(number * launches // rounds, number) for number in range(rounds)]
    return session({name: columns[name] * noise[name] for name in means}, places)


def coverage_of(launches, between, rounds=24):
    seen = [ratio(launched(seed, launches, between, rounds, a=30.0, b=30.0 / RATIO)).interval for seed in range(TRIALS)]
    return sum(one.low <= math.log(RATIO) <= one.high for one in seen) / TRIALS


@pytest.mark.parametrize("launches", [3, 4, 8])
@pytest.mark.parametrize("between", [0.0, 0.003, 0.02])
def test_intervals_hold_what_launches_differ_by(launches, between):
    assert coverage_of(launches, between) >= 0.93


def test_one_launch_knows_nothing_of_it():
    assert coverage_of(1, 0.02) < 0.5


def test_a_launch_that_was_disturbed_throughout_says_little():
    quiet = launched(3, 4, 0.002, rounds=48, a=30.0, b=10.0)
    slowed = {name: list(arm.slots) for name, arm in quiet.items()}
    for name, factor in (("a", 1.5), ("b", 2.2)):
        slowed[name] = [
            slot.model_copy(update={"nanoseconds": (round(factor * slot.nanoseconds[0]),)})
            if slot.launch == 1
            else slot
            for slot in slowed[name]
        ]
    held_up = {name: arm.model_copy(update={"slots": tuple(slowed[name])}) for name, arm in quiet.items()}
    found = ratio(held_up).interval
    assert found.low <= ratio(quiet).value <= found.high
    assert found.half_width < 0.03


def test_of_two_launches_the_cache_tells_what_they_differ_by():
    two, three = (launched(5, count, 0.02, a=30.0, b=10.0) for count in (2, 3))
    assert ratio(two).degrees != 1
    assert ratio(three).degrees <= 2
    latency = Latency(batch_size=1, input_length=8, arms={})
    assert speedups.noise_floor(latency) is None


def test_the_noise_floor_is_that_of_the_sessions_own_launches():
    made = launched(7, 4, 0.01, **{speedups.BASELINE: 30.0, speedups.NULL: 30.0})
    arms = {name: arm.model_copy(update={"load_seconds": (1.0,) * 4}) for name, arm in made.items()}
    latency = Latency(batch_size=1, input_length=8, arms=arms)
    ratios = [
        math.log(one / other) for one, other in zip(*(medians_of_launches(made[name]) for name in arms), strict=True)
    ]
    floor = speedups.noise_floor(latency)
    assert floor >= speedups.launch_noise(ratios, 4) * 0.8
    noise = Noise(ratios=(0.1, -0.1, 0.1), measured_at="2026-01-01T00:00:00+00:00")
    assert speedups.noise_floor(latency.model_copy(update={"noise": noise})) > 2 * floor, "an earlier result's own"


def medians_of_launches(arm):
    by_launch = {}
    for slot in arm.slots:
        by_launch.setdefault(slot.launch, []).append(slot.nanoseconds[0])
    return [float(np.median(found)) for found in by_launch.values()]


# rounds count the less the more they were disturbed


@given(st.integers(0, 1000), st.integers(1, 60))
def test_the_weighted_median_is_that_of_numpy(seed, count):
    generator = np.random.default_rng(seed)
    values, weights = np.sort(generator.normal(size=count)), generator.uniform(0.1, 1, (3, count))
    sums = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    assume(np.abs(sums - 0.5).min() > 2 * undisturbed.ROUNDING)  # halves but for rounding are the mean of two
    wanted = [float(np.quantile(values, 0.5, weights=row, method="inverted_cdf")) for row in weights]
    assert undisturbed._middle(values, weights) == pytest.approx(wanted)


def test_a_few_undisturbed_rounds_decide_where_factors_differ():
    """The slow arm × 1.2 and the fast one × 1.6 in seven of ten rounds: a median over all would be off by a quarter."""
    columns = noisy(3, rounds=100, a=30.0, b=10.0)
    hit = np.random.default_rng(4).random(100) < 0.7
    disturbed = {name: values * np.where(hit, {"a": 1.2, "b": 1.6}[name], 1) for name, values in columns.items()}
    found = ratio(session(disturbed)).interval
    assert found.low <= math.log(3) <= found.high
    assert found.half_width < 0.02


def test_what_slows_both_alike_costs_no_precision():
    columns = noisy(5, rounds=100, a=30.0, b=10.0)
    factor = np.random.default_rng(6).uniform(1, 2, 100)
    shared = {name: values * factor for name, values in columns.items()}
    quiet, busy = ratio(session(columns)).interval, ratio(session(shared)).interval
    assert busy.low <= math.log(3) <= busy.high
    assert busy.half_width < 5 * quiet.half_width


def test_means_stand_for_slots_whose_calls_differ_in_length():
    calls = [(50.0, 100.0, 300.0)] * 12
    uneven = ArmLatency(
        slots=tuple(
            Slot(round=n, order=n, nanoseconds=tuple(round(1e6 * c) for c in one)) for n, one in enumerate(calls)
        ),
        load_seconds=(),
        first_call_seconds=(),
    )
    arms = {"b": uneven, **session({"a": [300.0] * 12})}
    assert math.exp(undisturbed.session(arms, mixed=True).ratio("b", "a").value) == pytest.approx(2)
    assert math.exp(undisturbed.session(arms, mixed=False).ratio("b", "a").value) == pytest.approx(3)


def test_an_hour_of_rounds_needs_little_memory():
    arms = session(noisy(0, rounds=36_000, a=30.0, b=10.0))
    undisturbed.middles(arms["a"], False)
    tracemalloc.start()
    found = ratio(arms)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6
    assert found.interval.half_width < 0.001


# coverage


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


def measured(phis, burst_rate, drifting, rounds=100, states=None):
    generator = np.random.default_rng(0)
    shared = drift_logs(generator, rounds) if drifting else np.zeros((TRIALS, rounds))
    held = held_up_logs(generator, states, rounds) if states else (0, 0)
    slow = 30 * RATIO * np.exp(shared + held[0] + arm_logs(generator, phis[0], burst_rate, rounds))
    fast = 30 * np.exp(shared + held[1] + arm_logs(generator, phis[1], burst_rate, rounds))
    for first, second in zip(slow, fast, strict=True):
        yield {"slow": as_arm(first, generator), "fast": as_arm(second, generator)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phis", "burst_rate", "drifting", "rounds", "states"),
    [
        pytest.param((0.0, 0.0), 0.0, False, 100, None, id="independent"),
        pytest.param((0.0, 0.0), 0.05, True, 100, None, id="drift and bursts"),
        pytest.param((0.3, 0.3), 0.0, False, 100, None, id="lasting noise"),
        pytest.param((0.5, 0.5), 0.05, False, 100, None, id="longer noise and bursts"),
        pytest.param((0.7, 0.7), 0.0, False, 100, None, id="very long noise"),
        pytest.param((0.5, 0.0), 0.05, True, 100, None, id="one arm with longer noise"),
        pytest.param((0.3, 0.3), 0.05, False, 30, None, id="few rounds"),
        pytest.param((0.0, 0.0), 0.0, False, 10, None, id="fewest rounds"),
        pytest.param((0.0, 0.0), 0.0, False, 100, "long", id="another state for a time"),
        pytest.param((0.3, 0.3), 0.05, False, 100, "long", id="another state for a time, lasting noise, bursts"),
        pytest.param((0.0, 0.0), 0.0, False, 100, "short", id="a process that comes and goes"),
        pytest.param((0.3, 0.3), 0.05, False, 40, "short", id="a process that comes and goes, few rounds"),
    ],
)
def test_intervals_cover_the_true_ratio(phis, burst_rate, drifting, rounds, states, record_property):
    found = [ratio(arms, "fast", "slow").interval for arms in measured(phis, burst_rate, drifting, rounds, states)]
    covered = sum(interval.low <= math.log(RATIO) <= interval.high for interval in found) / TRIALS
    record_property("coverage", covered)
    assert covered >= (0.9 if max(phis) > 0.5 else 0.92)


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0.0, 0.3, 0.5, 0.7])
def test_the_ratio_of_two_sessions_is_covered_under_lasting_noise(lag, record_property):
    covered = 0
    sessions = zip(measured((lag, lag), 0.0, False), _others(lag), strict=True)
    for first, second in sessions:
        interval = ratio(second, "fast", "slow").over(ratio(first, "fast", "slow")).interval
        covered += interval.low <= 0 <= interval.high
    record_property("coverage", covered / TRIALS)
    assert 0.92 <= covered / TRIALS <= 0.98


def _others(lag):
    """Sessions that are independent of those of the same lag."""
    generator = np.random.default_rng(7)
    slow, fast = (30 * np.exp(arm_logs(generator, lag, 0.0, 100)) for _ in range(2))
    for first, second in zip(RATIO * slow, fast, strict=True):
        yield {"slow": as_arm(first, generator), "fast": as_arm(second, generator)}


def test_equal_sessions_differ_by_nothing_with_a_width():
    one = ratio(session(noisy(0, a=30.0, b=10.0)))
    value, low, high = triple(one.over(one).interval)
    assert value == 0
    assert low < -one.interval.half_width < one.interval.half_width < high
    assert one.over(one).p_value == 1

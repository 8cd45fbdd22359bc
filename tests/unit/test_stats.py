"""What is computed from raw samples: hand-made slots with known answers."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.example_results import failed, reference_config, reference_results

from quantbench.analysis import speedups as stats
from quantbench.analysis.intervals import Interval
from quantbench.schema.results import ArmLatency, Latency, Noise, Slot
from quantbench.schema.settings import DATASET

ROUNDS = 40


def arm(*slots):
    """Slots given as (launch, round, nanoseconds)."""
    return ArmLatency(
        slots=tuple(
            Slot(launch=launch, round=number, order=order, nanoseconds=tuple(calls))
            for order, (launch, number, calls) in enumerate(slots)
        ),
        load_seconds=(1.0,),
        first_call_seconds=(0.2,),
    )


def steady(milliseconds, rounds=ROUNDS, spread=0.005, seed=0):
    """One call per round, around a mean, without autocorrelation."""
    generator = random.Random(seed)
    return arm(
        *((0, number, [round(1e6 * milliseconds * math.exp(generator.gauss(0, spread)))]) for number in range(rounds))
    )


def latency(rounds=ROUNDS, length=64, extended=False, spread=0.005, **milliseconds):
    means = {"pytorch": 100.0, "onnx-float": 80.0, "optimized": 50.0, "null": 100.0} | milliseconds
    arms = {
        name: steady(mean, rounds, spread, seed) for seed, (name, mean) in enumerate(means.items()) if mean is not None
    }
    return Latency(batch_size=4, input_length=length, arms=arms, extended=extended)


@pytest.fixture
def results():
    """Two runs, to be given the latencies of a test."""
    return reference_results(reference_config())


def with_latency(result, *shapes):
    return result.model_copy(update={"latency": shapes})


def judged(result, index=0, others=()):
    return {(one.arm, one.against): one for one in stats.speedups([result, *others])[result.run.key, index]}


MAIN = ("optimized", "pytorch")


# samples


def test_samples_of_all_slots_in_milliseconds():
    measured = arm((0, 0, [1_000_000, 3_000_000]), (1, 0, [5_000_000]))
    assert stats.samples_ms(measured) == (1.0, 3.0, 5.0)
    assert stats.mean_ms(measured) == 3.0
    assert stats.calls_per_second(measured) == pytest.approx(1000 / 3)


@pytest.mark.parametrize(("percent", "fewest"), [(50, 1), (90, 64), (95, 130), (99, 662)])
def test_a_percentile_needs_as_many_samples_as_loadgen_asks_for(percent, fewest):
    numbers = [1_000_000 * number for number in range(1, fewest + 1)]
    random.Random(0).shuffle(numbers)
    assert stats.percentile_ms(arm((0, 0, numbers)), percent) == pytest.approx(percent / 100 * fewest, abs=1)
    assert stats.percentile_ms(arm((0, 0, numbers[1:])), percent) is None


@given(st.lists(st.integers(1, 10**9), min_size=64, max_size=200), st.sampled_from([50, 90]))
def test_a_percentile_has_its_share_of_the_samples_on_either_side(nanoseconds, percent):
    value = stats.percentile_ms(arm((0, 0, nanoseconds)), percent) * 1e6
    assert sum(one < value - 1e-3 for one in nanoseconds) <= percent / 100 * len(nanoseconds)
    assert sum(one > value + 1e-3 for one in nanoseconds) <= (1 - percent / 100) * len(nanoseconds)


# ratios per round


def test_slots_are_paired_by_launch_and_round_only():
    slow = arm((1, 0, [800]), (0, 0, [200]), (0, 1, [400]), (0, 5, [999]))
    fast = arm((0, 1, [100]), (0, 0, [100]), (1, 0, [100]), (1, 1, [7]), (2, 0, [7]))
    found = stats.log_ratios(slow, fast)
    assert list(found) == [(0, 0), (0, 1), (1, 0)], "in the order of launches and rounds"
    assert list(found.values()) == pytest.approx([math.log(2), math.log(4), math.log(8)])


@given(st.randoms())
def test_ratios_do_not_depend_on_the_order_of_slots(generator):
    slow, fast = steady(20, 12), steady(10, 12, seed=1)
    shuffled = slow.model_copy(update={"slots": tuple(generator.sample(slow.slots, len(slow.slots)))})
    assert stats.log_ratios(shuffled, fast) == stats.log_ratios(slow, fast)


def test_a_slot_is_its_median_where_all_calls_are_alike_and_its_mean_where_they_are_not():
    slow, fast = arm((0, 0, [10, 20, 90])), arm((0, 0, [10, 10, 10]))
    assert stats.log_ratios(slow, fast) == {(0, 0): pytest.approx(math.log(2))}
    assert stats.log_ratios(slow, fast, mixed=True) == {(0, 0): pytest.approx(math.log(4))}


def test_ratios_turn_their_sign_with_the_arms():
    slow, fast = steady(20), steady(10, seed=1)
    turned = {place: -value for place, value in stats.log_ratios(slow, fast).items()}
    assert stats.log_ratios(fast, slow) == pytest.approx(turned)


def test_arms_without_a_common_round_have_no_ratio():
    assert stats.log_ratios(arm((0, 0, [1])), arm((1, 0, [1]))) == {}


# noise floor


def test_the_noise_floor_is_the_far_end_of_the_nulls_interval():
    for null in (103.0, 100 / 1.03):
        assert stats.noise_floor(latency(null=null)) == pytest.approx(0.03, abs=0.005)
    assert 0 < stats.noise_floor(latency()) < 0.01


def test_a_noisier_machine_has_a_higher_floor():
    assert stats.noise_floor(latency(spread=0.05)) > 5 * stats.noise_floor(latency(spread=0.005))


def test_there_is_no_floor_without_a_null_arm_or_with_too_few_rounds():
    assert stats.noise_floor(latency(null=None)) is None
    assert stats.noise_floor(latency(rounds=9)) is None
    assert stats.noise_floor(latency(rounds=10)) is not None


def test_the_floor_uses_means_where_calls_differ_in_length():
    alike = arm(*((0, number, [100, 100, 100]) for number in range(10)))
    uneven = arm(*((0, number, [50, 100, 180]) for number in range(10)))
    for length, floor in ((64, 0.0), (DATASET, 0.1)):
        shape = Latency(batch_size=1, input_length=length, arms={"pytorch": alike, "null": uneven})
        assert stats.noise_floor(shape) == pytest.approx(floor)


# speedups


def test_speedups_of_all_pairs_of_arms(results):
    speedups = judged(with_latency(results[0], latency()))
    assert list(speedups) == list(stats.COMPARED)
    expected = {MAIN: 2.0, ("optimized", "onnx-float"): 1.6, ("onnx-float", "pytorch"): 1.25}
    for pair, ratio in expected.items():
        assert speedups[pair].ratio == pytest.approx(ratio, rel=0.01)
        assert speedups[pair].interval.low < ratio < speedups[pair].interval.high
        assert speedups[pair].interval.value == speedups[pair].ratio
        assert speedups[pair].verdict == "faster"


def test_a_slower_arm_is_called_so_and_an_equal_one_is_not_judged(results):
    speedups = judged(with_latency(results[0], latency(optimized=110.0, **{"onnx-float": 100.0})))
    assert speedups[MAIN].verdict == "slower"
    assert speedups[MAIN].interval.high < 1
    assert speedups["onnx-float", "pytorch"].verdict == "inconclusive"


def test_what_is_below_the_noise_floor_is_inconclusive(results):
    quiet, biased = latency(optimized=97.0), latency(optimized=97.0, null=105.0)
    assert judged(with_latency(results[0], quiet))[MAIN].verdict == "faster"
    assert judged(with_latency(results[0], biased))[MAIN].verdict == "inconclusive"


def test_p_values_are_corrected_for_the_number_of_rows(results):
    """A difference that counts on its own is lost among fifty shapes that show nothing."""
    weak, nothing = latency(optimized=99.5, spread=0.01), latency(optimized=100.0, spread=0.01)
    weak = weak.model_copy(update={"arms": {**weak.arms, "null": weak.arms["pytorch"]}})
    alone = judged(with_latency(results[0], weak))[MAIN]
    among = judged(with_latency(results[0], weak), others=[with_latency(results[1], *[nothing] * 50)])[MAIN]
    assert alone.interval == among.interval
    assert (alone.verdict, among.verdict) == ("faster", "inconclusive")


def disturbed():
    """A neighbour in the first 30 of 40 rounds, which slows the optimized arm more than the others."""
    calm, factors = latency(), {"pytorch": 1.2, "null": 1.2, "onnx-float": 1.3, "optimized": 1.6}
    arms = {}
    for name, timed in calm.arms.items():
        slower = [
            slot.model_copy(update={"nanoseconds": tuple(round(factors[name] * call) for call in slot.nanoseconds)})
            for slot in timed.slots[:30]
        ]
        arms[name] = timed.model_copy(update={"slots": (*slower, *timed.slots[30:])})
    return calm.model_copy(update={"arms": arms})


def test_a_speedup_is_that_of_the_undisturbed_machine(results):
    found = judged(with_latency(results[0], disturbed()))[MAIN]
    assert found.ratio == pytest.approx(2.0, rel=0.01)
    assert found.interval.low < 2.0 < found.interval.high < 2.1, "with few blocks the disturbed ratio is not excluded"
    assert found.rounds == ROUNDS


def test_rows_are_found_by_run_and_place_of_the_shape(results):
    first = with_latency(results[0], latency(), latency(optimized=25.0))
    second = with_latency(results[1], latency(optimized=200.0))
    found = stats.speedups([first, second])
    assert list(found) == [(first.run.key, 0), (first.run.key, 1), (second.run.key, 0)]
    assert [round(rows[0].ratio, 1) for rows in found.values()] == [2.0, 4.0, 0.5]


def test_failed_runs_have_no_speedups(results):
    assert stats.speedups([failed(results[0].run)]) == {}
    assert stats.speedups([]) == {}


def test_too_few_slots_give_a_ratio_of_means_without_an_interval(results):
    speedup = judged(with_latency(results[0], latency(rounds=9)))[MAIN]
    assert speedup.interval is None
    assert speedup.ratio == pytest.approx(2.0, rel=0.02)
    assert speedup.verdict == "inconclusive"
    assert judged(with_latency(results[0], latency(rounds=10)))[MAIN].interval is not None


@pytest.mark.parametrize(
    ("extended", "spread", "unstable"),
    [(True, 0.1, True), (False, 0.1, False), (True, 0.005, False)],
)
def test_unstable_is_what_stays_imprecise_although_it_was_measured_twice(results, extended, spread, unstable):
    shape = latency(extended=extended, spread=spread)
    found = judged(with_latency(results[0], shape))[MAIN]
    assert (found.verdict, found.unstable) == ("faster", unstable)


def test_mixed_shapes_are_compared_by_means(results):
    def uneven(factor):
        return arm(*((0, number, [factor * 50, factor * 100, factor * 300]) for number in range(10)))

    arms = {"pytorch": arm(*((0, number, [400] * 3) for number in range(10)))}
    arms |= {"onnx-float": uneven(1), "optimized": uneven(1), "null": arms["pytorch"]}
    ratios = {
        length: judged(with_latency(results[0], Latency(batch_size=1, input_length=length, arms=arms)))[MAIN].ratio
        for length in (64, DATASET)
    }
    assert ratios == pytest.approx({64: 4.0, DATASET: 400 / 150})


# steadiness


def test_drift_compares_the_last_third_with_the_first():
    assert stats.drift(arm(*((0, number, [100]) for number in range(9)))) == 1
    assert stats.drift(arm(*((0, number, [100 + 10 * number]) for number in range(9)))) == pytest.approx(170 / 110)
    assert stats.drift(arm((0, 0, [100]), (0, 1, [50]))) == 0.5
    assert stats.drift(arm((0, 0, [100]))) == 1


def test_drift_is_blind_to_one_burst():
    assert stats.drift(arm(*((0, number, [100 if number else 10_000]) for number in range(9)))) == 1


# retention


@pytest.mark.parametrize(
    ("low", "high", "keeps_99", "keeps_999"),
    [
        (0.0, 0.0, "yes", "yes"),
        (-0.0005, 0.01, "yes", "yes"),
        (-0.005, -0.0001, "yes", "undecided"),
        (-0.008, -0.002, "yes", "no"),
        (-0.02, -0.005, "undecided", "no"),
        (-0.02, 0.005, "undecided", "undecided"),
        (-0.05, -0.02, "no", "no"),
    ],
)
def test_retention_of_a_metric_of_094(results, low, high, keeps_99, keeps_999):
    kept = stats.retention(results[0], "f1", Interval((low + high) / 2, low, high))
    assert kept == {0.99: keeps_99, 0.999: keeps_999}


def test_retention_is_relative_to_the_original(results):
    small = results[0].scores["original"].model_copy(update={"metrics": {"f1": 0.1}})
    result = results[0].model_copy(update={"scores": {"original": small}})
    assert stats.retention(result, "f1", Interval(-0.005, -0.006, -0.004)) == {0.99: "no", 0.999: "no"}


# what computes the same


def test_twins_are_found_by_their_graphs(results):
    first, second = results
    assert stats.twins(results) == {}
    same = second.model_copy(
        update={"artifact": second.artifact.model_copy(update={"graph": first.artifact.graph, "sha256": "e" * 64})}
    )
    assert stats.twins([first, same]) == {second.run.key: first.run.name}
    untouched = first.model_copy(update={"float_artifact": {"graph": first.artifact.graph}})
    assert stats.twins([untouched]) == {first.run.key: "the original (nothing was quantized)"}
    assert stats.twins([failed(first.run)]) == {}


def test_what_lasts_as_long_as_a_process_raises_the_noise_floor():
    quiet = latency()
    noise = Noise(ratios=(0.02, -0.02, 0.02, -0.02), measured_at="2026-01-01T00:00:00+00:00")
    noisy = quiet.model_copy(update={"noise": noise})
    assert stats.noise_floor(quiet) < 0.01
    assert stats.noise_floor(noisy) == pytest.approx(math.expm1(4.6041 * 0.02), rel=1e-4), "Student, 4 degrees"
    calm = noise.model_copy(update={"ratios": (1e-6, -1e-6)})
    assert stats.noise_floor(quiet.model_copy(update={"noise": calm})) == stats.noise_floor(quiet)


def test_the_speed_of_the_machine_is_known_only_after_it_was_seen():
    known = Noise(ratios=(0.01, -0.01), measured_at="", fastest_ms=30.0, session_ms=40.0)
    assert stats.machine_speed(latency().model_copy(update={"noise": known})) == 0.75
    assert stats.machine_speed(latency()) is None
    for missing in ("fastest_ms", "session_ms"):
        unknown = known.model_copy(update={missing: None})
        assert stats.machine_speed(latency().model_copy(update={"noise": unknown})) is None


def test_more_launches_average_it():
    noise = Noise(ratios=(0.02, -0.01, 0.03), measured_at="2026-01-01T00:00:00+00:00")
    once, often = (math.log1p(stats.launch_noise(noise.ratios, launches)) for launches in (1, 4))
    assert often == pytest.approx(once / 2)


@settings(max_examples=5)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_new_measurement_exceeds_it_once_in_a_hundred(seed, launches):
    """Over many machines that were looked at by 8 launches each; a share of 0.2 to 2 % in 2,000 draws."""
    generator = random.Random(seed)
    beyond = 0
    for _ in range(2000):
        seen = Noise(ratios=tuple(generator.gauss(0, 0.004) for _ in range(8)), measured_at="")
        new = abs(sum(generator.gauss(0, 0.004) for _ in range(launches)) / launches)
        beyond += math.expm1(new) > stats.launch_noise(seen.ratios, launches)
    assert 0.002 < beyond / 2000 < 0.02


def test_a_verdict_needs_more_than_launches_differ_by(results):
    slightly = latency(optimized=98.5)
    noise = Noise(ratios=(0.01, -0.012, 0.011), measured_at="2026-01-01T00:00:00+00:00")
    pair = ("optimized", "pytorch")
    assert judged(with_latency(results[0], slightly))[pair].verdict == "faster"
    known = slightly.model_copy(update={"noise": noise})
    assert judged(with_latency(results[0], known))[pair].verdict == "inconclusive"


def test_files_call_the_time_of_a_noise_floor_measured_as_they_always_did():
    stored = '{"ratios":[0.01],"measured":"2026-01-01T00:00:00+00:00","fastest_ms":null,"session_ms":null}'
    noise = Noise.model_validate_json(stored)
    assert noise.measured_at == "2026-01-01T00:00:00+00:00"
    assert noise.model_dump_json() == stored
    latency = Latency(batch_size=1, input_length=8, arms={}, noise=noise)
    assert latency.model_dump(mode="json")["noise"]["measured"] == noise.measured_at

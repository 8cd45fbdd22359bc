"""Which slots count as held up: hand-made timelines of arms, and what must hold for all."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.analysis.interference import held_up
from quantbench.schema.results import ArmLatency, Slot

ROUNDS = 50
FAST, SLOW = 10.0, 20.0


def timed(names=("a", "b", "c"), slowdown=lambda name, number: 1.0, rounds=ROUNDS, noise=0.005, seed=0):
    """Arms with one slot per round in an order drawn anew, each slot slowed by a factor."""
    generator = random.Random(seed)
    slots = {name: [] for name in names}
    order = 0
    for number in range(rounds):
        for name in generator.sample(names, len(names)):
            call = 1e6 * FAST * slowdown(name, number) * math.exp(generator.gauss(0, noise))
            slots[name].append(Slot(round=number, order=order, nanoseconds=(round(call),)))
            order += 1
    return {
        name: ArmLatency(slots=tuple(found), load_seconds=(), first_call_seconds=()) for name, found in slots.items()
    }


def rounds_of(places):
    return sorted(number for _, number in places)


# which slots


def test_a_machine_that_is_slower_for_a_while_holds_up_every_arm():
    arms = timed(slowdown=lambda name, number: {"a": 1.2, "b": 1.3, "c": 1.6}[name] if 20 <= number < 40 else 1.0)
    found = held_up(arms, False)
    assert {name: rounds_of(places) for name, places in found.items()} == {name: list(range(20, 40)) for name in "abc"}


def test_nine_tenths_may_be_disturbed():
    arms = timed(slowdown=lambda name, number: 1.0 if number < 6 else 1.3)
    assert rounds_of(held_up(arms, False)["a"]) == list(range(6, ROUNDS))


def test_an_arm_that_is_slow_by_itself_is_not_held_up():
    """Two modes of one arm while all others go on as before are the arm's own latency."""
    arms = timed(slowdown=lambda name, number: 1.5 if name == "a" and number % 5 < 2 else 1.0)
    assert held_up(arms, False) == {"a": set(), "b": set(), "c": set()}


def test_a_slow_slot_needs_another_arm_as_witness_not_its_own_next_slot():
    arms = timed(names=("a",), slowdown=lambda name, number: 1.5 if number >= 30 else 1.0)
    assert held_up(arms, False) == {"a": set()}


def test_a_burst_over_two_slots_holds_up_both():
    arms = timed(slowdown=lambda name, number: 1.0)
    timeline = sorted((slot.order, name, slot.round) for name, arm in arms.items() for slot in arm.slots)
    hit = next(pair for pair in itertools.pairwise(timeline[30:]) if pair[0][1] != pair[1][1])
    slower = {(name, number) for _, name, number in hit}
    arms = timed(slowdown=lambda name, number: 1.4 if (name, number) in slower else 1.0)
    assert {(name, number) for name, found in held_up(arms, False).items() for _, number in found} == slower


@pytest.mark.parametrize(("calls", "call"), [((1, 1, 2), "last"), ((2, 1, 1), "first"), ((1, 2, 1), None)])
@pytest.mark.parametrize("mixed", [False, True])
def test_one_call_next_to_a_slow_slot_is_a_witness(calls, call, mixed):
    """A load that begins or ends within a slot slows one call of it; where calls differ in length their mean tells."""

    def slot(name, order, factors):
        calls = tuple(int(1e6 * FAST * (1 + order % 4 / 1000) * factor) for factor in factors)
        return name, Slot(round=order // 2, order=order, nanoseconds=calls)

    slots = [slot("ab"[order % 2], order, (1, 1, 1)) for order in range(2 * ROUNDS)]
    slots[50], slots[49 if call == "last" else 51] = (
        slot("a", 50, (2, 2, 2)),
        slot("b", 49 if call == "last" else 51, calls),
    )
    arms = {
        name: ArmLatency(slots=tuple(s for n, s in slots if n == name), load_seconds=(), first_call_seconds=())
        for name in "ab"
    }
    found = held_up(arms, mixed)
    assert found["a"] == ({(0, 25)} if call or mixed else set())
    assert bool(found["b"]) == mixed, "its own median was not slow, its mean was"


def test_a_state_that_few_slots_saw_does_not_hide_the_others():
    """Two slots were faster than ever again; the load that comes and goes is still told from the rest."""
    arms = timed(slowdown=lambda name, number: 0.7 if number < 2 else 1.5 if number % 10 < 4 else 1.0)
    found = rounds_of(held_up(arms, False)["a"])
    assert [number for number in found if number > 5] == [number for number in range(6, ROUNDS) if number % 10 < 4]


def test_states_that_change_with_every_slot_do_not_pass_for_noise():
    arms = timed(slowdown=lambda name, number: (1.0, 1.3, 3.0)[number % 3])
    assert rounds_of(held_up(arms, False)["a"]) == [number for number in range(ROUNDS) if number % 3]


def test_a_quiet_arm_is_slow_sooner_than_a_noisy_one():
    for noise, expected in ((0.002, True), (0.05, False)):
        arms = timed(slowdown=lambda name, number: 1.06 if number >= 25 else 1.0, noise=noise)
        assert bool(held_up(arms, False)["a"]) == expected


def test_a_slowdown_of_a_hundredth_is_not_held_up_however_quiet_the_arms():
    arms = timed(slowdown=lambda name, number: 1.01 if number >= 25 else 1.0, noise=1e-5)
    assert not any(held_up(arms, False).values())


def test_too_few_slots_tell_nothing():
    assert not any(held_up(timed(slowdown=lambda name, number: 1.0 + number // 5, rounds=9), False).values())
    assert any(held_up(timed(slowdown=lambda name, number: 1.0 + number // 5, rounds=10), False).values())


def test_a_slot_is_its_mean_where_calls_differ_in_length():
    def with_long_call(arm, late):
        slots = [
            slot.model_copy(update={"nanoseconds": (10**6, 10**6, 10**7 if late and slot.round >= 25 else 10**6)})
            for slot in arm.slots
        ]
        return arm.model_copy(update={"slots": tuple(slots)})

    arms = {name: with_long_call(arm, True) for name, arm in timed().items()}
    assert not any(held_up(arms, mixed=False).values())
    assert rounds_of(held_up(arms, mixed=True)["a"]) == list(range(25, ROUNDS))


@given(st.integers(0, 1000), st.integers(2, 4), st.floats(0.001, 0.05), st.randoms())
def test_neither_units_nor_the_order_of_the_record_matter(seed, count, noise, generator):
    names = "abcd"[:count]
    arms = timed(names, lambda name, number: 1.5 if number % 7 < 3 else 1.0, noise=noise, seed=seed)
    other = {
        name: arm.model_copy(
            update={
                "slots": tuple(
                    slot.model_copy(update={"nanoseconds": (4 * slot.nanoseconds[0],)})
                    for slot in generator.sample(arm.slots, len(arm.slots))
                )
            }
        )
        for name, arm in arms.items()
    }
    assert held_up(arms, False) == held_up(other, False)


@given(st.integers(0, 10_000))
def test_noise_alone_holds_up_hardly_anything(seed):
    found = held_up(timed(noise=0.02, seed=seed), False)
    assert sum(map(len, found.values())) <= 0.06 * 3 * ROUNDS

"""Coverage and width of every estimator in simulated sessions whose truth is known.

    python -m bench simulation --sessions 400 --rounds 85

Two arms, one twice as fast as the other, and a third that only takes its turn, in slots of 0.17 s, whose own noise has
a deviation of 1 % and is skewed: nothing makes a call faster. On top of it there is what another process does.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.signal import lfilter

from bench.estimators import ESTIMATORS, Estimator, told
from quantbench.analysis.undisturbed import Array
from quantbench.reports._markdown import table
from quantbench.schema.results import ArmLatency, Slot

SLOT_SECONDS = 0.17
TRUTH = math.log(2)
NOISE = 0.01
NAMES = ("slow", "fast", "other")
MEAN_NS = 30e6
Model = Callable[[np.random.Generator, int], Array]
"""Logarithms of slots, shape (rounds, arms)."""


def noise(generator: np.random.Generator, rounds: int, lag: float = 0.0, skewed: bool = True) -> Array:
    """Own noise of the arms, of which a share ``lag`` lasts from one round to the next."""
    shocks = generator.normal(size=(rounds, len(NAMES)))
    shocks[1:] *= math.sqrt(1 - lag**2)
    found: Array = NOISE * lfilter([1], [1, -lag], shocks, axis=0)
    if skewed:
        found += 0.7 * NOISE * generator.exponential(size=found.shape)
    return found


def turns(generator: np.random.Generator, rounds: int) -> Array:
    """Place of every slot among all, as the arms of a round take turns in an order drawn anew."""
    within = np.argsort(np.argsort(generator.random((rounds, len(NAMES))), axis=1), axis=1)
    found: Array = within + len(NAMES) * np.arange(rounds)[:, None]
    return found


def busy(generator: np.random.Generator, starts: Array, on: float, off: float) -> Array:
    """Share of each slot in which another process works, which does so for so many seconds on average, with pauses."""
    found, state = np.zeros_like(starts), generator.random() < on / (on + off)
    time, end = -generator.random() * (on if state else off), float(starts.max()) + SLOT_SECONDS
    while time < end:
        until = time + generator.uniform(0.5, 1.5) * (on if state else off)
        if state:
            within = np.minimum(starts + SLOT_SECONDS, until) - np.maximum(starts, time)
            found += np.clip(within, 0, None) / SLOT_SECONDS
        time, state = until, not state
    return found


def _lasting(lag: float) -> Model:
    return lambda generator, rounds: noise(generator, rounds, lag, skewed=False)


def _held_up(on: float, off: float, slower: Sequence[float]) -> Model:
    """Another process that makes each arm slower by its factor, more or less from one round to the next."""

    def model(generator: np.random.Generator, rounds: int) -> Array:
        places = turns(generator, rounds)
        share = busy(generator, SLOT_SECONDS * places, on, off)
        strength = generator.uniform(0.7, 1.3, (rounds, 1)) * (np.array(slower) - 1)
        found: Array = noise(generator, rounds) + np.log1p(share * strength)
        return found

    return model


def _each(shares: Sequence[float], slower: Sequence[tuple[float, float]]) -> Model:
    """Every slot for itself, whatever the others of its round do: of each share by a factor between two."""

    def model(generator: np.random.Generator, rounds: int) -> Array:
        found = noise(generator, rounds)
        kind = generator.choice(len(shares), size=found.shape, p=shares)
        low, high = np.array(slower)[kind].transpose(2, 0, 1)
        found += np.log(generator.uniform(low, high))
        return found

    return model


MODELS: dict[str, Model] = {
    "quiet, normal": _lasting(0.0),
    "quiet, skewed": noise,
    **{f"lag-1 correlation {lag:g}": _lasting(lag) for lag in (0.3, 0.5, 0.7, 0.9)},
    "single slots, a fifth": _each((0.8, 0.2), ((1, 1), (1.1, 2))),
    "single slots, four fifths": _each((0.2, 0.8), ((1, 1), (1.05, 1.7))),
    "single slots, a third much": _each((0.3, 0.4, 0.3), ((1, 1), (1.1, 1.9), (3, 5))),
    "both arms alike × 1.5, 1.75 s on and off": _held_up(1.75, 1.75, (1.5, 1.5, 1.5)),
    "slow arm × 1.2, fast arm × 1.6, 1.75 s on and off": _held_up(1.75, 1.75, (1.2, 1.6, 1.3)),
    "the same, 10 s on and off": _held_up(10, 10, (1.2, 1.6, 1.3)),
    **{
        f"both cores × 1.65, {share:.0%} of the time": _held_up(8 * share, 8 * (1 - share), (1.65, 1.65, 1.65))
        for share in (0.1, 0.3, 0.5, 0.7, 0.9)
    },
    "memory: slow arm × 1.2, fast arm × 1.6, 80 % of the time": _held_up(3.2, 0.8, (1.2, 1.6, 1.4)),
}


def arms(generator: np.random.Generator, model: Model, rounds: int) -> dict[str, ArmLatency]:
    """A simulated session as a measured one is kept."""
    logs = model(generator, rounds)
    logs[:, 0] += TRUTH
    times = np.rint(MEAN_NS * np.exp(logs)).astype(int).tolist()
    order = turns(generator, rounds)
    return {
        name: ArmLatency(
            slots=tuple(
                Slot(round=number, order=int(order[number, column]), nanoseconds=(times[number][column],))
                for number in range(rounds)
            ),
            load_seconds=(1.0,),
            first_call_seconds=(1.0,),
        )
        for column, name in enumerate(NAMES)
    }


def main(arguments: Sequence[str]) -> None:
    """Print the table of all models and estimators."""
    parser = argparse.ArgumentParser(prog="python -m bench simulation", description=__doc__)
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=85)
    given = parser.parse_args(arguments)
    print(report(given.sessions, given.rounds, ESTIMATORS))


def report(sessions: int, rounds: int, estimators: Mapping[str, Estimator]) -> str:
    """Markdown: coverage and median half width by model and estimator."""
    rows = []
    for name, model in MODELS.items():
        seen: dict[str, list[tuple[bool, float] | None]] = {one: [] for one in estimators}
        for seed in range(sessions):
            made = arms(np.random.default_rng(seed), model, rounds)
            for one, estimator in estimators.items():
                found = estimator(made, "fast", "slow", False)
                seen[one].append((found.low <= TRUTH <= found.high, found.half_width) if found else None)
        rows.append([name, *(told(cells) for cells in seen.values())])
    return table([f"{rounds} rounds", *estimators], rows)

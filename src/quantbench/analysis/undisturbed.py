"""What a call takes where the machine holds nothing up, and the ratio of two arms' such times with its interval.

A shared machine has states: a neighbour on the other hyper-thread of a core slows int8 by 60 % and PyTorch by 20 %, or
another process takes a core away for a second. A mean, a median or a ratio over such a mixture is a property of the
mixture. What a neighbour cannot do is make a call faster, so a low quantile of an arm's slots is that of the
undisturbed machine, as long as it is undisturbed in somewhat more than that share of the slots. It stands for the arm
in every table and in every ratio, whatever the machine did.

The interval of a ratio comes from drawing the session anew: blocks of consecutive rounds of all arms together (moving
blocks, Kuensch, 1989; circular, Politis and Romano, 1992), so that what the arms of a round share stays shared, and
what lasts for several rounds stays in one piece. Quantiles of draws are further from the true one than those of
independent rounds where a few blocks make up a session, so deviations are stretched by Student's quantile for as many
blocks as there are, and by what circular blocks lose of the variance of a mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from quantbench.analysis.intervals import ALPHA, Interval, Z, inflation
from quantbench.schema.memo import once
from quantbench.schema.results import ArmLatency, Slot

Array = np.ndarray[Any, Any]
Place = tuple[int, int]
"""Launch and round of a slot."""

SHARE = 0.1
"""Share of an arm's slots that are faster than what stands for it."""
FAST = 3 * SHARE
"""Share of the slots whose order in time tells how long noise lasts; slower ones count alike, as no draw uses them."""
LASTS = 2
"""Blocks are so many times as long as noise lasts."""
FEWEST_BLOCKS = 4
"""Blocks are never so long that fewer fit into a session."""
FEWEST_ROUNDS = 10
"""With fewer rounds the tenth of them is no number of slots, and nothing tells how long noise lasts."""
RESAMPLES = 1000
MOST_DRAWN = 4_000_000
"""Slots that are drawn together: a bound on memory."""


def middle(slot: Slot, mixed: bool) -> float:
    """Nanoseconds that stand for a slot: the median of its calls, or their mean where calls differ in length."""
    return statistics.fmean(slot.nanoseconds) if mixed else statistics.median(slot.nanoseconds)


@once
def middles(arm: ArmLatency, mixed: bool) -> dict[Place, float]:
    """What stands for each of an arm's slots, by launch and round."""
    return {(slot.launch, slot.round): middle(slot, mixed) for slot in arm.slots}


@once
def undisturbed_ms(arm: ArmLatency, mixed: bool) -> float:
    """Milliseconds of a call that nothing disturbs: the quantile ``SHARE`` of the arm's slots, between logarithms."""
    return math.exp(float(np.quantile(np.log(list(middles(arm, mixed).values())), SHARE))) / 1e6


@dataclass(frozen=True)
class Ratio:
    """Logarithm of a ratio and what draws of it deviate by, shape (draws,).

    ``degrees`` are those of freedom of its noise, ``rounds`` those that it was found from.
    """

    value: float
    deviations: Array
    degrees: float
    rounds: int

    @cached_property
    def interval(self) -> Interval:
        """The value with its 95 % interval, as logarithms."""
        low, high = np.percentile(self.deviations, (100 * ALPHA / 2, 100 - 100 * ALPHA / 2))
        return Interval(self.value, self.value + min(0.0, float(low)), self.value + max(0.0, float(high)))

    @cached_property
    def p_value(self) -> float:
        """Two-sided p-value of the ratio 1: below 5 % exactly where the interval excludes it.

        That of Student's distribution whose 95 % interval reaches as far towards zero as this one, as a thousand draws
        cannot tell the small p-values that a correction for many rows asks for.
        """
        interval = self.interval
        reach = interval.value - interval.low if interval.value > 0 else interval.high - interval.value
        if interval.value == 0 or reach == 0:
            return float(interval.value == 0)
        beyond = float(stdtrit(self.degrees, 1 - ALPHA / 2)) * abs(interval.value) / reach
        return 2 * float(stdtr(self.degrees, -beyond))

    def over(self, other: Ratio) -> Ratio:
        """The ratio over that of another, independent session; degrees of freedom are those of Welch (1947)."""
        # two sessions of equal length are drawn by the same numbers, and must not be drawn alike
        drawn = np.random.default_rng(1).permutation(other.deviations)
        parts = [float(ratio.deviations.var()) for ratio in (self, other)]
        weights = sum(part**2 / ratio.degrees for part, ratio in zip(parts, (self, other), strict=True))
        degrees = sum(parts) ** 2 / weights if weights else min(self.degrees, other.degrees)
        rounds = self.rounds + other.rounds
        return Ratio(self.value - other.value, self.deviations - drawn, degrees, rounds)


@dataclass(frozen=True)
class Resampled:
    """A session drawn anew many times.

    Attributes:
        logs: logarithm of the nanoseconds that stand for an arm, by name.
        deviations: of it in every draw, stretched, shape (draws,), by name.
        degrees: of freedom, one less than the blocks that fit into the session.
        rounds: in which all arms have a slot.

    """

    logs: Mapping[str, float]
    deviations: Mapping[str, Array]
    degrees: float
    rounds: int

    def ratio(self, arm: str, against: str) -> Ratio:
        """How many times as fast as another an arm is; the logarithm is positive where it is faster."""
        drawn = self.deviations[against] - self.deviations[arm]
        return Ratio(self.logs[against] - self.logs[arm], drawn, self.degrees, self.rounds)


def resampled(arms: Mapping[str, ArmLatency], mixed: bool) -> Resampled | None:
    """Draw a session of arms anew; None with fewer than ``FEWEST_ROUNDS`` rounds in which all have a slot.

    Args:
        arms: all that were timed in turn.
        mixed: whether calls differ in length, as :func:`middle` takes it.

    """
    slots = {name: middles(arm, mixed) for name, arm in arms.items()}
    places = sorted(set.intersection(*(set(found) for found in slots.values()))) if slots else []
    if len(places) < FEWEST_ROUNDS:
        return None
    logs = {name: np.log([found[place] for place in places]) for name, found in slots.items()}
    launches = np.unique([launch for launch, _ in places], return_counts=True)[1].tolist()
    length = block_length(list(logs.values()), launches)
    blocks = len(places) / length
    stretch = float(stdtrit(blocks - 1, 1 - ALPHA / 2)) / Z / math.sqrt(1 - 1 / blocks)
    centres = {name: float(np.quantile(values, SHARE)) for name, values in logs.items()}
    # deviations are small numbers, for which half the memory is precise enough
    centred = {name: (values - centres[name]).astype(np.float32) for name, values in logs.items()}
    drawn: dict[str, list[Array]] = {name: [] for name in logs}
    for rounds in draws(launches, length):
        for name, values in centred.items():
            drawn[name].append(stretch * _low_quantile(values[rounds]))
    return Resampled(centres, {name: np.concatenate(parts) for name, parts in drawn.items()}, blocks - 1, len(places))


def widest(arms: Mapping[str, ArmLatency], against: str, mixed: bool) -> float | None:
    """The largest half width of the arms' log ratios to one of them, from the slots so far; None with too few rounds.

    Takes milliseconds for each thousand slots, so that it may be asked every few seconds while rounds go on.
    """
    found = resampled(arms, mixed)
    if found is None or against not in arms:
        return None
    return max((found.ratio(name, against).interval.half_width for name in arms if name != against), default=None)


def block_length(arms: Sequence[Array], launches: Sequence[int]) -> int:
    """Rounds of a block: ``LASTS`` times as many as the noise of the arm whose noise lasts longest is worth one of.

    That number is :func:`~quantbench.analysis.intervals.inflation` of the logarithms, in which all above the quantile
    ``FAST`` are taken as equal: where a neighbour comes and goes, slow slots follow each other, but fast ones are
    independent, and it is these that a low quantile is made of.

    Args:
        arms: logarithms of the slots of each arm in the order of rounds.
        launches: how many rounds each launch has.

    """
    lasts = max(inflation(np.minimum(values, np.quantile(values, FAST))) for values in arms)
    return max(1, min(math.ceil(LASTS * lasts), sum(launches) // FEWEST_BLOCKS, max(launches)))


def draws(launches: Sequence[int], length: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Array]:
    """Numbers of the rounds in every draw, shape (draws, rounds), a part of the draws at a time.

    Each launch is drawn from itself, as no block goes from one into the next; the last block of a launch is cut.
    """
    generator, count = np.random.default_rng(seed), sum(launches)
    together = max(1, MOST_DRAWN // count)
    starts = np.cumsum([0, *launches[:-1]])
    # rounds of the block that begins at each round, in a circle within its launch
    inside = [(np.arange(rounds)[:, None] + np.arange(length)) % rounds for rounds in launches]
    blocks = [(start + rows).astype(np.intp) for start, rows in zip(starts, inside, strict=True)]
    for done in range(0, resamples, together):
        rows = min(together, resamples - done)
        parts = []
        for block in blocks:
            rounds = len(block)
            first = generator.integers(0, rounds, (rows, -(-rounds // length)))
            parts.append(block[first].reshape(rows, -1)[:, :rounds])
        yield parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _low_quantile(values: Array) -> Array:
    """The quantile ``SHARE`` of every row, as numpy has it by default, whose own is slower by a factor of ten here."""
    place = SHARE * (values.shape[1] - 1)
    below, share = int(place), place - int(place)
    ranked = np.sort(values, axis=1)
    found: Array = ranked[:, below] * (1 - share) + ranked[:, below + 1] * share
    return found

"""What a call takes where the machine holds nothing up, and how many times as fast one arm is as another there.

Where another process of the same system takes a core away, the scheduler tells how long a call waited for it, and that
is taken off (``timing.waits``). For the rest a shared machine has states: a neighbour on the other hyper-thread of a
core slows int8 by 60 % and PyTorch by 20 %, another system on the same cores takes them away unseen. A mean, a median
or a ratio over such a mixture is a property of the mixture. What a neighbour cannot do is make a call faster, so a low
quantile of an arm's slots is that of the undisturbed machine, as long as it is undisturbed in somewhat more than that
share of the slots.

Slots of one round are neighbours in time, and what slows one arm mostly slows the other: their ratio scatters far less
than either time. So a ratio of two arms is the median of the rounds' ratios, in which a round counts the less the
slower it was than both arms' low quantiles (a kernel, as in local regression: Fan and Gijbels, 1996, at the edge where
nothing is disturbed). On a quiet machine all rounds count alike; where factors of disturbance differ, what was hardly
disturbed decides.

The interval of a ratio comes from drawing the session anew: blocks of consecutive rounds (moving blocks, Kuensch, 1989;
circular, Politis and Romano, 1992), so that what lasts for several rounds stays in one piece. Draws differ by too
little where a few blocks make up a session, so deviations are stretched by Student's quantile for as many blocks as
the rounds that count make up, at least ``FEWEST_BLOCKS``, and by what circular blocks lose of the variance of a mean.

A process is favoured or not for as long as it lives, by where its memory lies for one, of which nothing is to be seen
within one launch. So where there are ``FEWEST_STARTS`` launches and more, each says by itself what the ratio is, and
the interval is Student's of how they scatter, if that is the wider (clusters: Liang and Zeger, 1986).
"""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from quantbench.analysis.intervals import ALPHA, Interval, Z, inflation
from quantbench.schema.memo import once
from quantbench.schema.results import ArmLatency, Slot
from quantbench.schema.settings import FEWEST_STARTS

Array = np.ndarray[Any, Any]
Place = tuple[int, int]
"""Launch and round of a slot."""

SHARE = 0.1
"""Share of an arm's slots that are faster than the undisturbed one."""
FADES = 0.1
"""A round counts e times less for every so much that its two arms were slower than undisturbed, as a logarithm."""
LASTS = 6
"""Blocks are so many times as long as noise lasts."""
FEWEST_BLOCKS = 4
"""Blocks are never so long that fewer fit into a session."""
FEWEST_ROUNDS = 10
"""With fewer rounds the tenth of them is no number of slots, and nothing tells how long noise lasts."""
RESAMPLES = 1000
MOST_DRAWN = 4_000_000
"""Slots that are drawn together: a bound on memory."""
ROUNDING = 1e-5
"""Share of a sum of weights by which rounding may move it."""
MOST_KEPT = 200_000
"""Numbers in all draws of a session up to which these are kept for the next ratio of as many rounds."""


def middle(slot: Slot, mixed: bool, waits: bool = False) -> float:
    """Nanoseconds that stand for a slot: the median of its calls, or their mean where calls differ in length.

    Without what a call waited for a CPU, as far as the system tells, unless ``waits`` are asked for.
    """
    calls = slot.nanoseconds
    if slot.waited_nanoseconds and not waits:
        calls = tuple(map(operator.sub, calls, slot.waited_nanoseconds))
    return statistics.fmean(calls) if mixed else statistics.median(calls)


@once
def middles(arm: ArmLatency, mixed: bool, waits: bool = False) -> dict[Place, float]:
    """What stands for each of an arm's slots, as :func:`middle` says, by launch and round."""
    return {(slot.launch, slot.round): middle(slot, mixed, waits) for slot in arm.slots}


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

    def widened(self, spread: float, seen: int) -> Ratio:
        """With noise from elsewhere on top, of this standard deviation, which was found from so many observations."""
        if not spread:
            return self
        drawn = spread * np.random.default_rng(2).standard_t(seen, len(self.deviations))
        parts = [float(self.deviations.var()), spread**2]
        degrees = sum(parts) ** 2 / (parts[0] ** 2 / self.degrees + parts[1] ** 2 / seen)
        return Ratio(self.value, self.deviations + drawn, degrees, self.rounds)

    def over(self, other: Ratio) -> Ratio:
        """The ratio over that of another, independent session; degrees of freedom are those of Welch (1947)."""
        # two sessions of equal length are drawn by the same numbers, and must not be drawn alike
        drawn = np.random.default_rng(1).permutation(other.deviations)
        parts = [float(ratio.deviations.var()) for ratio in (self, other)]
        weights = sum(part**2 / ratio.degrees for part, ratio in zip(parts, (self, other), strict=True))
        degrees = sum(parts) ** 2 / weights if weights else min(self.degrees, other.degrees)
        rounds = self.rounds + other.rounds
        return Ratio(self.value - other.value, self.deviations - drawn, degrees, rounds)


def mean(ratios: Sequence[Ratio]) -> Ratio:
    """The mean of logarithms from independent sessions, such as those of several shapes: a geometric mean of ratios."""
    if len(ratios) == 1:
        return ratios[0]
    # sessions of equal length are drawn by the same numbers, and must not be drawn alike
    generator, count = np.random.default_rng(3), len(ratios)
    drawn = np.sum([generator.permutation(ratio.deviations) for ratio in ratios], axis=0) / count
    parts = [float(ratio.deviations.var()) for ratio in ratios]
    weights = sum(part**2 / ratio.degrees for part, ratio in zip(parts, ratios, strict=True))
    degrees = sum(parts) ** 2 / weights if weights else min(ratio.degrees for ratio in ratios)
    return Ratio(
        statistics.fmean(ratio.value for ratio in ratios), drawn, degrees, sum(ratio.rounds for ratio in ratios)
    )


@dataclass(frozen=True)
class Session:
    """The rounds in which all arms of a session have a slot.

    Attributes:
        logs: logarithms of the nanoseconds that stand for an arm's slots, by name, shape (rounds,).
        launches: how many rounds each launch has.

    """

    logs: Mapping[str, Array]
    launches: tuple[int, ...]

    @cached_property
    def _above(self) -> dict[str, Array]:
        """How far every slot is above the undisturbed one of its arm."""
        return {name: np.maximum(values - np.quantile(values, SHARE), 0) for name, values in self.logs.items()}

    def ratio(self, arm: str, against: str) -> Ratio:
        """How many times as fast as another an arm is; the logarithm is positive where it is faster."""
        ratios = self.logs[against] - self.logs[arm]
        weights = np.exp(-(self._above[against] + self._above[arm]) / 2 / FADES)
        order = np.argsort(ratios, kind="stable")
        ranked, ranked_weights = ratios[order], weights[order]
        value = float(_middle(ranked, ranked_weights))
        length = block_length(ratios - value, weights, self.launches)
        worth = float(weights.sum() ** 2 / (weights**2).sum())  # rounds of equal weight (Kish, 1965)
        degrees = max(FEWEST_BLOCKS - 1.0, worth / length - 1)
        stretch = float(stdtrit(degrees, 1 - ALPHA / 2)) / Z / math.sqrt(1 - length / len(ratios))
        single = ranked_weights.astype(np.float32)  # precise enough, and half of the memory
        drawn = [_middle(ranked, counts[:, order] * single) for counts in _counts(self.launches, length)]
        within = Ratio(value, stretch * (np.concatenate(drawn) - value), degrees, len(ratios))
        between = self._between(value, ratios, weights)
        return within if between is None else max(between, within, key=lambda found: found.interval.half_width)

    def _between(self, value: float, ratios: Array, weights: Array) -> Ratio | None:
        """The ratio with what launches say of its noise; None with too few of them.

        A launch counts by the weights of its rounds, so that one that was disturbed throughout says little.
        """
        if len(self.launches) < FEWEST_STARTS:
            return None
        parts = np.split(np.arange(len(ratios)), np.cumsum(self.launches)[:-1])
        orders = [part[np.argsort(ratios[part], kind="stable")] for part in parts]
        said = np.array([float(_middle(ratios[order], weights[order])) for order in orders])
        share = np.array([weights[part].sum() for part in parts]) / weights.sum()
        worth = 1 / float((share**2).sum())  # launches of equal weight (Kish, 1965)
        degrees = max(1.0, worth - 1)
        error = math.sqrt(float((share**2 * (said - value) ** 2).sum()) * worth / degrees)
        return Ratio(value, error * _spread(degrees), degrees, len(ratios))


def session(arms: Mapping[str, ArmLatency], mixed: bool) -> Session | None:
    """The rounds of arms; None with fewer than ``FEWEST_ROUNDS`` in which all have a slot.

    Args:
        arms: that were timed in turn.
        mixed: whether calls differ in length, as :func:`middle` takes it.

    """
    slots = {name: middles(arm, mixed) for name, arm in arms.items()}
    places = sorted(set.intersection(*(set(found) for found in slots.values()))) if slots else []
    if len(places) < FEWEST_ROUNDS:
        return None
    logs = {name: np.log([found[place] for place in places]) for name, found in slots.items()}
    launches = np.unique([launch for launch, _ in places], return_counts=True)[1].tolist()
    return Session(logs, tuple(launches))


def widest(arms: Mapping[str, ArmLatency], against: str, mixed: bool) -> float | None:
    """The largest half width of the arms' log ratios to one of them, from the slots so far; None with too few rounds.

    Takes milliseconds for each thousand slots, so that it may be asked every few seconds while rounds go on.
    """
    found = session(arms, mixed)
    if found is None or against not in arms:
        return None
    return max((found.ratio(name, against).interval.half_width for name in arms if name != against), default=None)


@lru_cache(maxsize=64)
def _spread(degrees: float) -> Array:
    """Student's distribution as evenly spaced quantiles, in an order drawn once."""
    found: Array = stdtrit(degrees, (np.random.default_rng(4).permutation(RESAMPLES) + 0.5) / RESAMPLES)
    return found


def _middle(ranked: Array, weights: Array) -> Array:
    """The weighted median of sorted values; the mean of two where half of the weight lies on either side of both.

    Args:
        ranked: shape (values,).
        weights: of the values, shape (…, values).

    """
    sums = np.cumsum(weights, axis=-1)
    half, last = sums[..., -1:] / 2, len(ranked) - 1
    first = np.minimum((sums < half * (1 - ROUNDING)).sum(axis=-1, keepdims=True), last)
    tied = np.take_along_axis(sums, first, axis=-1) <= half * (1 + ROUNDING)
    after = np.where(tied, (sums <= half * (1 + ROUNDING)).sum(axis=-1, keepdims=True), first) if tied.any() else first
    found: Array = (ranked[first] + ranked[np.minimum(after, last)])[..., 0] / 2
    return found


def block_length(deviations: Array, weights: Array, launches: Sequence[int]) -> int:
    """Rounds of a block: ``LASTS`` times as many as the noise is worth one of.

    That number is :func:`~quantbench.analysis.intervals.inflation` of what moves a weighted median: on which side of it
    a round lies, times its weight.

    Args:
        deviations: of the rounds' ratios from their median, in the order of rounds.
        weights: of the rounds.
        launches: how many rounds each launch has.

    """
    lasts = inflation(np.sign(deviations) * weights)
    return max(1, min(math.ceil(LASTS * lasts), sum(launches) // FEWEST_BLOCKS, max(launches)))


def _counts(launches: tuple[int, ...], length: int) -> Iterable[Array]:
    """How often every round is in each draw, shape (draws, rounds), a part of the draws at a time."""
    if sum(launches) * RESAMPLES <= MOST_KEPT:
        return _kept_counts(launches, length)
    return _new_counts(launches, length)


@lru_cache(maxsize=16)
def _kept_counts(launches: tuple[int, ...], length: int) -> tuple[Array, ...]:
    return tuple(_new_counts(launches, length))


def _new_counts(launches: Sequence[int], length: int) -> Iterator[Array]:
    count = sum(launches)
    for rounds in draws(launches, length):
        rows = len(rounds)
        places = rounds + count * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float32)


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

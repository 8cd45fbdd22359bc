"""Interference: which slots the machine held up, from the samples of all arms that were timed in turn.

It tells who looks after a machine how busy it is. No speedup depends on it; these are found in ``undisturbed``.

A slow slot alone proves nothing, as it may be the arm's own doing. It counts as held up if the slot before or after it,
which another arm had, was slow as well, or the call of that slot that was nearest to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from quantbench.analysis.undisturbed import SHARE, Place, middles
from quantbench.schema.results import ArmLatency, Slot

FASTEST_SHARE = 0.02
"""From this quantile to the one above the undisturbed slots show how far they scatter."""
QUIET_SHARE = 0.1
"""Share of the steps between neighbouring slots that is taken as the arm's own noise, whatever the others are."""
CLUSTER_SHARE = 0.2
"""Share of the slots whose narrowest range is taken as the arm's own noise, whatever state of the machine they saw."""
MOST_LASTING = 2.5
"""Scatter over steps of lasting noise: 2.2 with a lag-1 correlation of 0.8. More is a state that few slots saw."""
DEVIATIONS = 4.0
"""Standard deviations of its own noise by which a slow slot of an arm is above the middle of the undisturbed ones."""
LEAST_SLOWDOWN = 0.02
"""A slot that is slower than that middle by a smaller share is not slow, however quiet the arm is."""
FEWEST_SLOTS = 10
"""With fewer slots no arm's noise is known."""


class _SlotState(NamedTuple):
    """A slot in the order of time: whether it was slow, and whether it was so at its start and at its end."""

    time: Place
    place: Place
    arm: str
    slow: bool
    start: bool
    end: bool


def held_up(arms: Mapping[str, ArmLatency], mixed: bool) -> dict[str, set[Place]]:
    """Places of the slots of each arm that the machine held up.

    Args:
        arms: all arms that were timed in the same rounds.
        mixed: whether calls differ in length, as :func:`middles` takes it.

    """
    timeline: list[_SlotState] = []
    for name, arm in arms.items():
        slots, known = sorted(arm.slots, key=_time), middles(arm, mixed, waits=True)
        limit = _limit([known[slot.launch, slot.round] for slot in slots])
        timeline += [_state(name, slot, known[slot.launch, slot.round] > limit, limit, mixed) for slot in slots]
    timeline.sort(key=lambda state: state.time)
    found: dict[str, set[Place]] = {name: set() for name in arms}
    for before, state, after in zip([None, *timeline], timeline, [*timeline[1:], None], strict=False):
        witnessed = before is not None and before.end and before.arm != state.arm
        witnessed |= after is not None and after.start and after.arm != state.arm
        if state.slow and witnessed:
            found[state.arm].add(state.place)
    return found


def _state(arm: str, slot: Slot, slow: bool, limit: float, mixed: bool) -> _SlotState:
    """State of one slot; single calls are not judged where calls differ in length."""
    start, end = (slow or (not mixed and slot.nanoseconds[index] > limit) for index in (0, -1))
    return _SlotState(_time(slot), (slot.launch, slot.round), arm, slow, start, end)


def _time(slot: Slot) -> Place:
    return slot.launch, slot.order


def _limit(nanoseconds: Sequence[float]) -> float:
    """Nanoseconds above which a slot of an arm is slower than its own noise explains.

    The noise is taken as normal in the logarithm. Its deviation is the smaller of what the smallest steps between
    neighbours and the narrowest range of many slots tell, as states that change with every slot raise the first and
    drift the second; or what the scatter of the fastest slots tells if that is larger, within what lasting noise
    explains. All are right as long as a tenth of the slots is undisturbed.
    """
    if len(nanoseconds) < FEWEST_SLOTS:
        return math.inf
    logs = np.log(nanoseconds)
    fastest, fast = np.quantile(logs, [FASTEST_SHARE, SHARE])
    of_fast = (fast - fastest) / (ndtri(SHARE) - ndtri(FASTEST_SHARE))
    quiet = min(_of_steps(logs), _of_cluster(logs))
    deviation = max(quiet, min(of_fast, MOST_LASTING * quiet))
    limit = fast - ndtri(SHARE) * deviation + max(DEVIATIONS * deviation, LEAST_SLOWDOWN)
    return math.exp(limit)


def _of_steps(logs: np.ndarray[Any, Any]) -> float:
    """Deviation of normal noise whose steps between neighbours have the same low quantile."""
    step = np.quantile(np.abs(np.diff(logs)), QUIET_SHARE)
    return float(step / (math.sqrt(2) * ndtri((1 + QUIET_SHARE) / 2)))


def _of_cluster(logs: np.ndarray[Any, Any]) -> float:
    """Deviation of normal noise that has the same share of its values within the narrowest range."""
    ranked, count = np.sort(logs), math.ceil(CLUSTER_SHARE * len(logs))
    narrowest = np.min(ranked[count - 1 :] - ranked[: len(ranked) - count + 1])
    return float(narrowest / (2 * ndtri((1 + CLUSTER_SHARE) / 2)))

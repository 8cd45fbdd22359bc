"""Which version to try next: pure decisions from what has been tried.

Every family of versions (a runtime and a form of int8) is a ladder. Its first rung has everything in int8; on each
further rung one more unit is treated gently, in the order of what it hurts per millisecond that it saves. The version
tried next is the one that promises to be fastest, as long as it does not promise to be slower than the fastest that
passed by more than short probes can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from quantbench.analysis.intervals import Interval
from quantbench.schema.base import Record

Verdict = Literal["passes", "fails", "open"]
NEAR = 0.05
"""Versions whose probed times differ by less may well be the other way round."""
MARGIN = 0.7
"""Share of the limit that a rung is chosen for: the loss does not exactly follow the sensitivities."""


class Limit(Record):
    """The most that a metric may drop, absolutely or as a share of the original's value."""

    metric: str
    drop: float
    relative: bool = False

    def absolute(self, original: float) -> float:
        """The drop in units of the metric, for the original's value."""
        return self.drop * abs(original) if self.relative else self.drop


@dataclass(frozen=True)
class Unit:
    """What a family can treat gently: its cost in accuracy if it is not, and in time if it is.

    ``harm`` and ``gentle_harm`` are expected divergences (nats per token) in the family's mode and treated gently;
    ``seconds`` is what treating it gently costs per call.
    """

    name: str
    harm: float
    gentle_harm: float
    seconds: float


@dataclass(frozen=True)
class Ladder:
    """A family's rungs: ``units`` in the order in which they are treated gently, and the time of the first rung."""

    family: str
    seconds: float
    units: tuple[Unit, ...] = ()

    @classmethod
    def sorted(cls, family: str, seconds: float, units: Sequence[Unit]) -> Ladder:
        """A ladder with the units that hurt most per second first."""

        def worth(unit: Unit) -> tuple[float, str]:
            return -(unit.harm - unit.gentle_harm) / max(unit.seconds, 1e-9), unit.name

        helpful = [unit for unit in units if unit.harm > unit.gentle_harm]
        return cls(family, seconds, tuple(sorted(helpful, key=worth)))

    def time(self, rung: int) -> float:
        """Predicted seconds of a call with the first ``rung`` units treated gently."""
        return self.seconds + sum(unit.seconds for unit in self.units[:rung])

    def harm(self, rung: int) -> float:
        """Predicted divergence."""
        gentle = sum(unit.gentle_harm for unit in self.units[:rung])
        return gentle + sum(unit.harm for unit in self.units[rung:])


@dataclass(frozen=True)
class Trial:
    """A version that was tried: its rung, the loss in units of the limit (over 1 is too much) and the verdict."""

    family: str
    rung: int
    loss: float
    verdict: Verdict


def judge(losses: Mapping[str, Interval], limits: Mapping[str, float], last: bool) -> Verdict:
    """Whether losses keep within limits.

    Where nothing at all has changed so far there is no interval, only the hope that it stays so: that passes at the
    end alone.

    Args:
        losses: original minus optimized by metric, with intervals.
        limits: most allowed loss by metric.
        last: whether there are no more examples to look at; then the estimate decides where the interval does not.

    """
    if any(losses[metric].low > limit for metric, limit in limits.items()):
        return "fails"
    changed = any(losses[metric].half_width > 0 for metric in limits)
    if changed and all(losses[metric].high <= limit for metric, limit in limits.items()):
        return "passes"
    if not last:
        return "open"
    return "passes" if all(losses[metric].value <= limit for metric, limit in limits.items()) else "fails"


def excess(losses: Mapping[str, Interval], limits: Mapping[str, float]) -> float:
    """The largest loss in units of its limit."""
    return max(max(losses[metric].value, 0.0) / max(limit, 1e-9) for metric, limit in limits.items())


def next_version(ladders: Sequence[Ladder], trials: Sequence[Trial]) -> tuple[str, int] | None:
    """Family and rung of the version to try next; None if nothing that is left promises to be
    as fast as what passed.

    Args:
        ladders: one per family.
        trials: every version tried so far.

    """
    times = {ladder.family: ladder for ladder in ladders}
    passed = [times[trial.family].time(trial.rung) for trial in trials if trial.verdict == "passes"]
    fastest = min(passed, default=float("inf"))
    offers = []
    for ladder in ladders:
        rung = _next_rung(ladder, [trial for trial in trials if trial.family == ladder.family])
        if rung is not None and ladder.time(rung) <= fastest * (1 + NEAR):
            offers.append((ladder.time(rung), ladder.family, rung))
    return min(offers)[1:] if offers else None


def _next_rung(ladder: Ladder, trials: Sequence[Trial]) -> int | None:
    """The first rung, then as far up as the loss asks for, then between the highest that failed and the lowest that
    passed.
    """
    if not trials:
        return 0
    failed = [trial for trial in trials if trial.verdict == "fails"]
    passed = [trial.rung for trial in trials if trial.verdict == "passes"]
    if not failed:
        return None
    highest = max(failed, key=lambda trial: trial.rung)
    if passed:
        middle = (highest.rung + min(passed)) // 2
        return middle if middle > highest.rung else None
    wanted = ladder.harm(highest.rung) * MARGIN / max(highest.loss, 1.0)
    for rung in range(highest.rung + 1, len(ladder.units) + 1):
        if ladder.harm(rung) <= wanted:
            return rung
    return len(ladder.units) if highest.rung < len(ladder.units) else None


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the points (loss, seconds) that no other is at least as good as in both and better in one, by loss."""

    def beaten(name: str) -> bool:
        loss, seconds = points[name]
        return any(
            other != name and a <= loss and b <= seconds and (a, b) != (loss, seconds)
            for other, (a, b) in points.items()
        )

    return sorted((name for name in points if not beaten(name)), key=lambda name: points[name])

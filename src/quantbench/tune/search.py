"""Which version to try next: pure decisions from what has been tried.

Every candidate (a runtime and a form of int8) has a schedule of versions. At step 0 everything is in int8; each further
step puts one more group of products into the candidate's fallback mode, those first that add most divergence for each
millisecond that they save. Of all candidates' next versions the one of least predicted time is tried, as long as it is
not predicted to be slower, by more than short probes can tell, than the fastest that passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from quantbench.analysis.intervals import Interval
from quantbench.schema.base import Record

Verdict = Literal["passes", "fails", "open"]
NEAR = 0.05
"""Versions whose probed times differ by a smaller share than this may be in the other order in truth."""
MARGIN = 0.7
"""Share of the limit that the predicted loss of a step may take: losses do not follow sensitivities exactly."""


class Limit(Record):
    """The most that a metric may drop, absolutely or as a share of the original's value."""

    metric: str
    drop: float
    relative: bool = False

    def absolute(self, original: float) -> float:
        """The drop in units of the metric, for the original's value."""
        return self.drop * abs(original) if self.relative else self.drop


class Footprint(Record):
    """The most bytes that a version may take up; None where it may take as many as it does.

    Attributes:
        size: of its files.
        memory: of the process that is timed with it, at its peak.

    """

    size: int | None = None
    memory: int | None = None


UNLIMITED = Footprint()


@dataclass(frozen=True)
class Group:
    """Products that change to the fallback mode together: what that wins in accuracy and costs in time.

    Attributes:
        name: the tensor that they read.
        sensitivity: expected divergence in the candidate's mode, nats per token.
        fallback_sensitivity: the same in the fallback mode.
        seconds: what the fallback mode costs per call.

    """

    name: str
    sensitivity: float
    fallback_sensitivity: float
    seconds: float


@dataclass(frozen=True)
class Schedule:
    """A candidate's versions by step.

    Attributes:
        candidate: its name.
        seconds: of a call at step 0, where all groups are in the candidate's mode.
        groups: in the order in which they change to the fallback mode, one with each step.

    """

    candidate: str
    seconds: float
    groups: tuple[Group, ...] = ()

    @classmethod
    def sorted(cls, candidate: str, seconds: float, groups: Sequence[Group]) -> Schedule:
        """A schedule by divergence added per second saved, most first; groups that add none never change."""

        def worth(group: Group) -> tuple[float, str]:
            return -(group.sensitivity - group.fallback_sensitivity) / max(group.seconds, 1e-9), group.name

        helpful = [group for group in groups if group.sensitivity > group.fallback_sensitivity]
        return cls(candidate, seconds, tuple(sorted(helpful, key=worth)))

    def time(self, step: int) -> float:
        """Predicted seconds of a call with the first ``step`` groups in the fallback mode."""
        return self.seconds + sum(group.seconds for group in self.groups[:step])

    def divergence(self, step: int) -> float:
        """Predicted divergence with the first ``step`` groups in the fallback mode, nats per token."""
        fallback = sum(group.fallback_sensitivity for group in self.groups[:step])
        return fallback + sum(group.sensitivity for group in self.groups[step:])


@dataclass(frozen=True)
class Trial:
    """A version that was tried: its step, the loss as a multiple of the limit (over 1 is too much) and the verdict."""

    candidate: str
    step: int
    loss: float
    verdict: Verdict


def judge(losses: Mapping[str, Interval], limits: Mapping[str, float], last: bool) -> Verdict:
    """Whether losses keep within limits.

    As long as no prediction has changed, the interval has no width and proves nothing: such losses pass only once all
    examples were scored.

    Args:
        losses: original minus optimized by metric, with intervals.
        limits: most allowed loss by metric.
        last: whether all examples were scored; then the estimate decides where the interval does not.

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
    """The largest loss as a multiple of its limit."""
    return max(max(losses[metric].value, 0.0) / max(limit, 1e-9) for metric, limit in limits.items())


def next_version(schedules: Sequence[Schedule], trials: Sequence[Trial]) -> tuple[str, int] | None:
    """Candidate and step of the version to try next; None if none is predicted to be about as fast as what passed.

    Args:
        schedules: one per candidate.
        trials: every version tried so far.

    """
    times = {schedule.candidate: schedule for schedule in schedules}
    passed = [times[trial.candidate].time(trial.step) for trial in trials if trial.verdict == "passes"]
    fastest = min(passed, default=float("inf"))
    offers = []
    for schedule in schedules:
        step = _next_step(schedule, [trial for trial in trials if trial.candidate == schedule.candidate])
        if step is not None and schedule.time(step) <= fastest * (1 + NEAR):
            offers.append((schedule.time(step), schedule.candidate, step))
    return min(offers)[1:] if offers else None


def _next_step(schedule: Schedule, trials: Sequence[Trial]) -> int | None:
    """Step 0; after a failure the step that the loss asks for; then halfway between what failed and what passed."""
    if not trials:
        return 0
    failed = [trial for trial in trials if trial.verdict == "fails"]
    passed = [trial.step for trial in trials if trial.verdict == "passes"]
    if not failed:
        return None
    highest = max(failed, key=lambda trial: trial.step)
    if passed:
        middle = (highest.step + min(passed)) // 2
        return middle if middle > highest.step else None
    wanted = schedule.divergence(highest.step) * MARGIN / max(highest.loss, 1.0)
    for step in range(highest.step + 1, len(schedule.groups) + 1):
        if schedule.divergence(step) <= wanted:
            return step
    return len(schedule.groups) if highest.step < len(schedule.groups) else None


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names, by loss, of the points (loss, seconds) that none dominates by being as good in both and better in one."""

    def beaten(name: str) -> bool:
        loss, seconds = points[name]
        return any(
            other != name and a <= loss and b <= seconds and (a, b) != (loss, seconds)
            for other, (a, b) in points.items()
        )

    return sorted((name for name in points if not beaten(name)), key=lambda name: points[name])

"""Two output folders side by side: whether the same run is faster, slower or of other quality in the second.

Absolute latencies of two sessions are hours apart and not comparable on a shared machine; the speedups over the
original, measured in the same rounds, are. So the ratio of the two speedups is judged, each found as on a card and
drawn anew independently of the other (see ``undisturbed``), and against the noise floors of both.

A machine can be in one state throughout a session and in another throughout the next (a neighbour that takes memory
bandwidth slows int8 more than float), which no interval from within a session knows of. What is the same in both
folders tells: files with the same hash, optimized or float, seem to differ by so much between these two sessions, and
nothing is called that differs by less. And where an undisturbed call of what is the same, the original among it, takes
another time in the second session, the machine was in another state, and nothing is called at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quantbench.analysis import speedups
from quantbench.analysis.intervals import Interval
from quantbench.analysis.machines import unlike
from quantbench.analysis.pairing import pairs
from quantbench.analysis.speedups import shape_name
from quantbench.analysis.undisturbed import Ratio, undisturbed_ms
from quantbench.schema.results import Latency, Result


@dataclass(frozen=True)
class Compared:
    """One run at one shape in both folders; ratios above 1 mean that the second is faster."""

    name: str
    shape: str
    first_ms: float
    second_ms: float
    ratio: Interval | None
    p_value: float
    floor: float | None
    """The noise floors of both sessions, or what equal files differ by between them if that is more; None where one
    of both is not known."""
    speed: float = 1.0
    """Of the machine in the second session over that in the first."""

    @property
    def same_state(self) -> bool:
        """Whether the machine was as fast in the one session as in the other."""
        return speedups.SAME_SPEED <= self.speed <= 1 / speedups.SAME_SPEED


def compare(first: Sequence[Result], second: Sequence[Result]) -> list[Compared]:
    """Every run that is done in both, at every shape at which both were timed alike."""
    between, speeds = session_noise(first, second), machine_speeds(first, second)
    return [
        _compared(pair.name, *shapes, between, speeds.get(shape_name(shapes[0]), 1.0))
        for pair in pairs(first, second)
        for shapes in pair.latencies()
    ]


def session_noise(first: Sequence[Result], second: Sequence[Result]) -> float:
    """The largest difference between two sessions, as far as its interval reaches, of what is the same in both.

    The speedups over the original of equal files are compared; 0 where nothing is equal, and between unlike machines,
    where equal files may well differ.
    """
    noise = 0.0
    for one, other, pair in _alike(first, second):
        for arm in _equal_arms(one, other):
            change = _change(*pair, arm)
            if change is not None:
                noise = max(noise, math.expm1(max(abs(change.interval.low), abs(change.interval.high))))
    return noise


def machine_speeds(first: Sequence[Result], second: Sequence[Result]) -> dict[str, float]:
    """Speed of the machine in the second session over that in the first, by name of the shape.

    Found from undisturbed calls of the files that are the same in both sessions, the original included; the largest
    change counts. Shapes at which no file is the same are left out, and all shapes between unlike machines.
    """
    speeds: dict[str, float] = {}
    for one, other, (before, after) in _alike(first, second):
        equal = _equal_arms(one, other)
        if one.sources.get("model", 1) == other.sources.get("model", 2):
            equal.append(speedups.BASELINE)
        name = shape_name(before)
        for arm in equal:
            speed = undisturbed_ms(before.arms[arm], before.mixed) / undisturbed_ms(after.arms[arm], before.mixed)
            speeds[name] = max(speed, speeds.get(name, 1.0), key=lambda found: abs(math.log(found)))
    return speeds


def _alike(
    first: Sequence[Result], second: Sequence[Result]
) -> Iterator[tuple[Result, Result, tuple[Latency, Latency]]]:
    """Runs that were timed alike on alike machines, where equal files should take equal times."""
    for pair in pairs(first, second):
        if not unlike(pair.first.environment, pair.second.environment):
            yield from ((pair.first, pair.second, shapes) for shapes in pair.latencies())


def _equal_arms(first: Result, second: Result) -> list[str]:
    """Arms whose file is the same in both."""
    equal = []
    if first.artifact is not None and second.artifact is not None and first.artifact.sha256 == second.artifact.sha256:
        equal.append("optimized")
    if first.float_artifact.get("sha256", 1) == second.float_artifact.get("sha256", 2):
        equal.append("onnx-float")
    return equal


def _change(first: Latency, second: Latency, arm: str) -> Ratio | None:
    """The speedup of an arm over the original in the second session over that in the first; None with too few slots."""
    before, after = (speedups.log_ratio(latency, arm, speedups.BASELINE) for latency in (first, second))
    return None if before is None or after is None else after.over(before)


def _compared(name: str, first: Latency, second: Latency, between: float, speed: float) -> Compared:
    floors = [speedups.noise_floor(latency) for latency in (first, second)]
    known = [floor for floor in floors if floor is not None]
    change = _change(first, second, "optimized") if len(known) == len(floors) else None
    means = [speedups.mean_ms(latency.arms["optimized"]) for latency in (first, second)]
    ratio, p_value = (change.interval.exp(), change.p_value) if change else (None, 1.0)
    floor = max(sum(known), between) if ratio else None
    return Compared(name, shape_name(first), means[0], means[1], ratio, p_value, floor, speed)

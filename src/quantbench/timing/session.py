"""Latency of several arms, measured in interleaved slots.

Each arm lives in a process of its own. The ``duration`` of an arm is cut into short slots; in every round each arm has
one slot, in an order drawn anew, so that drift of the machine meets all arms alike. The parent blocks on a pipe while
an arm works. Raw samples are returned; means, percentiles and intervals are computed from them elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from quantbench.errors import ArmFailed
from quantbench.plugins.examples import Inputs
from quantbench.schema.reporter import Advance
from quantbench.schema.results import ArmLatency, ArmSpec, Slot
from quantbench.schema.settings import DATASET, FEWEST_STARTS, InputLength, TimeBenchmarkArgs
from quantbench.timing import forks, process
from quantbench.timing.kept import Keeper, Kept
from quantbench.timing.looks import USUAL, Observer, launch_looks
from quantbench.timing.process import ArmProcess


@dataclass(frozen=True)
class Shape:
    """Batches of one (batch size, input length) pair; one batch where the length is fixed, several of the data set.

    ``input_length`` is None where inputs have no length, as images.
    """

    batch_size: int
    input_length: InputLength | None
    batches: Sequence[Inputs]

    @property
    def mixed(self) -> bool:
        """Whether batches differ in length."""
        return self.input_length == DATASET


@dataclass
class ShapeTimings:
    """What was measured at one shape: samples by arm, seconds of the last slots, whether the duration was doubled."""

    arms: dict[str, ArmLatency] = field(default_factory=dict)
    slot_seconds: float = 0.0
    extended: bool = False


@dataclass
class Timings:
    """What was measured by shape index, and the reason for every arm that failed."""

    shapes: list[ShapeTimings]
    failures: dict[str, str] = field(default_factory=dict)


def time_arms(
    specs: Mapping[str, ArmSpec],
    baseline: str,
    shapes: Sequence[Shape],
    args: TimeBenchmarkArgs,
    threads: int,
    advance: Advance,
    keeper: Keeper | None = None,
    watch: Observer | None = None,
) -> Timings:
    """Time all arms at all shapes, each for the duration.

    Args:
        specs: the arms by name.
        baseline: the arm that the others' intervals are computed against.
        shapes: the inputs.
        args: how long and how; see the record.
        threads: threads and CPUs of every arm.
        advance: told whole seconds of measured time, over all arms and shapes.
        keeper: has what an interrupted measurement of the same has finished, and is given what this one finishes.
        watch: ends a launch at a shape sooner, or later than the duration, or some arms in it sooner; see there.

    An arm that fails is left out of what follows; its reason is in the outcome, the others go on.

    """
    session = _Session(baseline, shapes, args, threads, advance, keeper, watch)
    session.resume(specs)
    launch, failures = 0, session.outcome.failures
    while session.launch({name: spec for name, spec in specs.items() if name not in failures}, launch):
        launch += 1
    return session.outcome


class _Session:
    """One measurement: all launches of all arms at all shapes."""

    def __init__(
        self,
        baseline: str,
        shapes: Sequence[Shape],
        args: TimeBenchmarkArgs,
        threads: int,
        advance: Advance,
        keeper: Keeper | None,
        watch: Observer | None,
    ) -> None:
        self._watch, self._slots = watch, watch.slots if watch else USUAL
        self.baseline, self.shapes, self.args, self.threads = baseline, shapes, args, threads
        self.outcome = Timings([ShapeTimings() for _ in shapes])
        self._advance, self._keeper = advance, keeper
        self._launches = [0] * len(shapes)
        self._arms: dict[str, ArmProcess] = {}
        self._generator = random.Random(args.seed)
        self._fastest: dict[tuple[int, str], float] = {}
        self._measured = self._told = self._starting = 0.0

    def resume(self, specs: Mapping[str, ArmSpec]) -> None:
        """Take over what an earlier call has finished of these arms."""
        for index in range(len(self.shapes)):
            kept = self._keeper.read(index, specs) if self._keeper else None
            if kept is not None:
                self._launches[index] = kept.launches
                self.outcome.shapes[index] = ShapeTimings(dict(kept.arms), kept.slot_seconds, kept.extended)
                self._tell(len(specs) * self.args.duration * kept.launches / self.args.starts)

    def _finished(self, index: int, launch: int) -> None:
        """Keep what a launch measured at a shape, unless an arm has failed: then everything is measured again."""
        self._launches[index] = launch + 1
        timings = self.outcome.shapes[index]
        if self._keeper and not self.outcome.failures:
            kept = Kept(
                launches=launch + 1,
                arms=timings.arms,
                slot_seconds=timings.slot_seconds,
                extended=timings.extended,
            )
            self._keeper.write(index, kept)

    def launch(self, specs: Mapping[str, ArmSpec], launch: int) -> bool:
        """Start all processes, measure their share of the duration at every shape, end them.

        Libraries are imported side by side, which is not timed; models are loaded one after another. Shapes that an
        earlier call has measured in this launch are left out, and those that need no more. Whether there may be a next.
        """
        missing = [index for index, done in enumerate(self._launches) if done == launch and self._wanted(index)]
        if not missing:
            return any(done > launch for done in self._launches)
        try:
            self._start_all(specs)
            for index in missing:
                self._shape(index, launch)
                self._finished(index, launch)
            return True
        finally:
            for arm in self._arms.values():
                arm.close()
            self._arms.clear()

    def _wanted(self, index: int) -> bool:
        """Whether there is another launch at a shape: until the planned ones, or its intervals say so."""
        launches, planned = self._launches[index], self._planned()
        looks = launch_looks(planned)
        if not self._watch or not looks:
            return launches < planned
        timings, mixed = self.outcome.shapes[index], self.shapes[index].mixed
        enough = launches in looks and self._watch.enough_launches(timings.arms, self.baseline, mixed, self.args)
        if enough and launches < planned:
            self._tell((planned - launches) * self._share(launches) * len(timings.arms))
        more = launches < looks[-1] and not enough
        timings.extended |= more and launches >= planned
        return more

    def _planned(self) -> int:
        """As many launches as are asked for, or as there is time for where starting would take longer than timing."""
        if self.args.launches or self.args.starts < FEWEST_STARTS or not self._starting:
            return self.args.starts
        timed = self.args.duration * len(self.outcome.shapes[0].arms) * len(self.shapes)
        affordable = int(timed / self._starting)
        return max(FEWEST_STARTS, min(self.args.starts, affordable))

    def _share(self, launch: int) -> float:
        """Seconds per arm of a launch: equal parts of the duration, the first as if as many follow as usually do."""
        first = self.args.duration / self.args.starts
        return first if launch == 0 else (self.args.duration - first) / max(1, self._planned() - 1)

    def _start_all(self, specs: Mapping[str, ArmSpec]) -> None:
        """Start all processes; the first time tells how long that takes of every launch."""
        begin = perf_counter()
        for name, spec in specs.items():
            self._guard(name, self._start, name, spec)
        for name, arm in list(self._arms.items()):
            self._guard(name, ArmProcess.ready, arm)
        if forks.SAFE:
            begin = perf_counter()  # libraries are imported once for all launches
        for name, arm in list(self._arms.items()):
            self._guard(name, ArmProcess.load, arm)
        self._starting = self._starting or perf_counter() - begin

    def _start(self, name: str, spec: ArmSpec) -> None:
        self._arms[name] = ArmProcess(name, spec, self.threads)

    def _guard(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do work of one arm; if it fails, note why and drop the arm with all that it measured."""
        try:
            return work(*arguments)
        except ArmFailed as failure:
            self.outcome.failures[name] = str(failure)
            if name in self._arms:
                self._arms.pop(name).close()
            for shape in self.outcome.shapes:
                shape.arms.pop(name, None)
            return None

    def _shape(self, index: int, launch: int) -> None:
        """Warm up every arm alike, then measure this launch's rounds."""
        batches = [dict(batch) for batch in self.shapes[index].batches]
        for name in list(self._arms):
            first = self._guard(name, self._arms[name].ask, "shape", batches)
            warm = self._guard(name, self._warm, name, first * len(batches)) if name in self._arms else None
            if name in self._arms:
                self._note_fastest(index, name, warm or [int(first * 1e9)] * len(batches))
                self._start_record(index, name, first)
        if not self._arms:
            return
        timings = self.outcome.shapes[index]
        self._until_precise(index, launch)
        for name in list(self._arms):
            peak = self._guard(name, self._arms[name].ask, "peak")
            if peak is not None:
                arm = timings.arms[name]
                timings.arms[name] = arm.model_copy(update={"peak_memory_bytes": (*arm.peak_memory_bytes, peak)})

    def _until_precise(self, index: int, launch: int) -> None:
        """Rounds for this launch's share of the duration, or until the watch has seen enough."""
        share = self._share(launch)
        mixed, timings = self.shapes[index].mixed, self.outcome.shapes[index]
        told, left = self._measured, set(self._arms)
        slot = self._slot_length(index, left)[1]
        watch = self._watch if self.args.starts < FEWEST_STARTS else None  # else launches are looked at as a whole
        for seconds in watch.looks(share, slot) if watch else [share]:
            self._rounds(index, launch, seconds, left)
            timings.extended |= seconds > share
            if watch:
                measured, whole = self._of(index, launch), seconds >= share
                left &= set(watch.unsettled(measured, self.baseline, mixed, self.args, whole))
            if not left:
                break
        self._tell(max(0.0, share * len(self._arms) - (self._measured - told)))

    def _of(self, index: int, launch: int) -> dict[str, ArmLatency]:
        """What one launch has measured at a shape."""
        return {
            name: arm.model_copy(update={"slots": tuple(slot for slot in arm.slots if slot.launch == launch)})
            for name, arm in self.outcome.shapes[index].arms.items()
        }

    def _warm(self, name: str, pass_seconds: float) -> Any:
        """Warm up an arm; each pass may take three times as long as the first call before the arm counts as hanging."""
        passes = self.args.warmup_runs
        return self._arms[name].ask("warm", passes, timeout=process.CALL_TIMEOUT + 3 * passes * pass_seconds)

    def _slot(self, name: str, seconds: float, passes: int) -> Any:
        return self._arms[name].ask("slot", seconds, passes, timeout=process.CALL_TIMEOUT + 2 * seconds)

    def _start_record(self, index: int, name: str, first_call: float) -> None:
        arms = self.outcome.shapes[index].arms
        before = arms.get(name) or ArmLatency(slots=(), load_seconds=(), first_call_seconds=())
        arms[name] = before.model_copy(
            update={
                "load_seconds": (*before.load_seconds, self._arms[name].load_seconds),
                "first_call_seconds": (*before.first_call_seconds, first_call),
            }
        )

    def _rounds(self, index: int, launch: int, seconds: float, names: set[str]) -> None:
        """Rounds of a slot for each of some arms, in an order drawn anew, until this launch has timed all for so long.

        An arm that fails is taken from the names.
        """
        timings = self.outcome.shapes[index]
        slots: dict[str, list[Slot]] = {name: [] for name in self._arms}
        earlier = {name: arm.slots for name, arm in self._of(index, launch).items()}
        measured = {name: arm.seconds for name, arm in self._of(index, launch).items()}
        order = sum(map(len, earlier.values()))
        round_number = max((slot.round for arm in earlier.values() for slot in arm), default=-1) + 1
        while names and any(measured[name] < seconds for name in names):
            passes, timings.slot_seconds = self._slot_length(index, names)
            for name in self._generator.sample(sorted(names), len(names)):
                answer = self._guard(name, self._slot, name, timings.slot_seconds, passes)
                if answer is not None:
                    slots[name].append(Slot(launch=launch, round=round_number, order=order, **answer))
                    self._note_fastest(index, name, answer["nanoseconds"])
                    measured[name] += sum(answer["nanoseconds"]) / 1e9
                    self._tell(min(sum(answer["nanoseconds"]) / 1e9, timings.slot_seconds))
                order += 1
            names &= self._arms.keys()
            round_number += 1
        for name in names:
            arm = timings.arms[name]
            timings.arms[name] = arm.model_copy(update={"slots": (*arm.slots, *slots[name])})

    def _slot_length(self, index: int, names: Collection[str]) -> tuple[int, float]:
        """Least passes and seconds of these arms' next slot: the least calls of the slowest at its fastest so far.

        Warm-up tells it first. Where that was held up by other work, the slots would stay too long and so too few.
        """
        passes = -(-self._slots.calls // len(self.shapes[index].batches))
        return passes, max(self._slots.seconds, passes * max(self._fastest[index, name] for name in names))

    def _note_fastest(self, index: int, name: str, nanoseconds: Sequence[int]) -> None:
        """Keep the seconds of an arm's fastest pass over the batches, which other work has held up least."""
        batches = len(self.shapes[index].batches)
        passes = (sum(nanoseconds[start : start + batches]) for start in range(0, len(nanoseconds), batches))
        self._fastest[index, name] = min(self._fastest.get((index, name), float("inf")), min(passes) / 1e9)

    def _tell(self, seconds: float) -> None:
        self._measured += seconds
        self._advance(int(self._measured) - int(self._told))
        self._told = self._measured

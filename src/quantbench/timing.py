"""Latency of several arms, measured in interleaved slots.

Each arm lives in a process of its own. The ``duration`` of an arm is cut into short slots; in every round each arm has
one slot, in an order drawn anew, so that drift of the machine meets all arms alike. The parent blocks on a pipe while
an arm works. Raw samples are returned; means, percentiles and intervals are computed from them elsewhere.
"""

from __future__ import annotations

import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from typing import Any

from quantbench.environment import usable_cpus
from quantbench.errors import ArmFailed
from quantbench.records import ArmLatency, ArmSpec, Slot, TimeBenchmarkArgs
from quantbench.registry import Advance, Inputs

SLOT_SECONDS = 0.1
LEAST_CALLS = 3
LOAD_TIMEOUT = 600.0
CALL_TIMEOUT = 300.0
"""Seconds without an answer after which an arm counts as hanging; a slot gets this on top of its own length."""


@dataclass(frozen=True)
class Shape:
    """Inputs of one (batch size, input length) pair."""

    batch_size: int
    input_length: int
    inputs: Inputs


@dataclass
class Timings:
    """Raw samples by arm and shape index, and the reason for every arm that failed."""

    latency: dict[str, dict[int, ArmLatency]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class ArmProcess:
    """The parent's end of an arm."""

    def __init__(self, name: str, spec: ArmSpec, threads: int) -> None:
        self.name = name
        self.load_seconds = 0.0
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._connection, child = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quantbench.arm", str(child.fileno())],
            pass_fds=[child.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            start_new_session=True,
        )
        child.close()
        self._spec, self._threads = spec, threads

    def load(self) -> None:
        """Load the model; to be called once, before anything else.

        Raises:
            ArmFailed: as all methods here, if the process dies, hangs or reports an error.

        """
        cpus = usable_cpus()[: self._threads]
        self.load_seconds = self.ask("load", self._spec.model_dump_json(), self._threads, cpus, timeout=LOAD_TIMEOUT)

    def ask(self, *message: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """Send a message and block until the answer comes."""
        try:
            self._connection.send(message)
            if not self._connection.poll(timeout):
                raise ArmFailed(f"arm {self.name} gave no answer to {message[0]!r} within {timeout:.0f} s")
            status, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ArmFailed(self._death()) from error
        if status == "error":
            raise ArmFailed(f"arm {self.name}: {value}")
        return value

    def close(self) -> None:
        """End the process, whatever state it is in."""
        self._connection.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _death(self) -> str:
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"arm {self.name} {how}{hint}{': ' + lines[-1] if lines else ''}"


def time_arms(
    specs: Mapping[str, ArmSpec], shapes: Sequence[Shape], args: TimeBenchmarkArgs, threads: int, advance: Advance
) -> Timings:
    """Time all arms at all shapes.

    Args:
        specs: the arms by name.
        shapes: the inputs.
        args: ``duration`` seconds per arm and shape after ``warmup_runs`` untimed calls; ``seed`` of the slots' order.
        threads: threads and CPUs of every arm.
        advance: told whole seconds of measured time, over all arms and shapes.

    An arm that fails is left out of what follows; its reason is in the outcome, the others go on.

    """
    outcome = Timings()
    arms: dict[str, ArmProcess] = {}
    try:
        for name, spec in specs.items():
            arms[name] = ArmProcess(name, spec, threads)
            _guard(arms, name, outcome, arms[name].load)
        for index, shape in enumerate(shapes):
            _time_shape(arms, index, shape, args, outcome, advance)
    finally:
        for arm in arms.values():
            arm.close()
    return outcome


def _guard(arms: dict[str, ArmProcess], name: str, outcome: Timings, work: Any, *arguments: Any) -> Any:
    """Do work of one arm; if it fails, note why and drop the arm."""
    try:
        return work(*arguments)
    except ArmFailed as failure:
        outcome.failures[name] = str(failure)
        arms.pop(name).close()
        return None


def _time_shape(
    arms: dict[str, ArmProcess], index: int, shape: Shape, args: TimeBenchmarkArgs, outcome: Timings, advance: Advance
) -> None:
    first: dict[str, float] = {}
    pilot: dict[str, float] = {}
    for name in list(arms):
        first[name] = _guard(arms, name, outcome, arms[name].ask, "shape", dict(shape.inputs))
        if name in arms:
            warm = _guard(arms, name, outcome, arms[name].ask, "warm", args.warmup_runs)
            pilot[name] = statistics.median(warm) / 1e9 if warm else first[name]
    if not arms:
        return
    slot_seconds = max(SLOT_SECONDS, LEAST_CALLS * max(pilot[name] for name in arms))
    slots = _interleave(arms, slot_seconds, args, outcome, advance)
    for name, arm in arms.items():
        outcome.latency.setdefault(name, {})[index] = ArmLatency(
            slots=tuple(slots[name]), load_seconds=arm.load_seconds, first_call_seconds=first[name]
        )


def _interleave(
    arms: dict[str, ArmProcess], slot_seconds: float, args: TimeBenchmarkArgs, outcome: Timings, advance: Advance
) -> dict[str, list[Slot]]:
    """Rounds of one slot per arm, in an order drawn anew, until every arm has been timed for its duration."""
    slots: dict[str, list[Slot]] = {name: [] for name in arms}
    measured = dict.fromkeys(arms, 0.0)
    generator = random.Random(args.seed)
    told = order = 0
    while arms and any(measured[name] < args.duration for name in arms):
        for name in generator.sample(sorted(arms), len(arms)):
            samples = _guard(arms, name, outcome, arms[name].ask, "slot", slot_seconds, LEAST_CALLS)
            if samples is not None:
                slots[name].append(Slot(order=order, nanoseconds=tuple(samples)))
                measured[name] += sum(samples) / 1e9
            order += 1
        total = int(sum(min(seconds, args.duration) for seconds in measured.values()))
        advance(total - told)
        told = total
    return slots

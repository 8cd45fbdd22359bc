"""The process of one timed arm: loads one model, waits on a pipe, runs slots of calls, and does nothing else.

Forked by a process that has pinned itself to the arm's CPUs and has imported the runtime's libraries (``forks``), or
started as ``python -m quantbench.timing.arm FD RUNTIME CPU,CPU``. Messages are tuples whose first element says what is
asked:

    ("load", ArmSpec as JSON, threads)               -> seconds to load
    ("signature",)                                   -> what the loaded file takes and gives, as JSON
    ("executed",)                                    -> operators that its session runs, by type
    ("predict", inputs by name)                      -> outputs of one batch, as arrays
    ("shape", batches of inputs by name)             -> seconds of the first call
    ("warm", passes)                                 -> nanoseconds of each call
    ("peak",)                                        -> bytes of the largest resident size so far
    ("slot", seconds, least passes)                  -> fields of a Slot, after one untimed call

The answer is ``("ok", value)`` or ``("error", text)``. The end of the pipe ends the process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any, NoReturn

from quantbench.plugins.protocols import Session
from quantbench.plugins.registry import runtime
from quantbench.schema.results import ArmSpec
from quantbench.system import priority
from quantbench.system.garbage import give_back
from quantbench.timing.waits import SHORTEST, Threads, held_up

STEAL_FIELD = 8
"""Place of the stolen time in the first line of ``/proc/stat`` (proc(5))."""


class Arm:
    """The state of the process: a loaded model and one prepared call per batch of the shape."""

    def __init__(self, cpus: list[int]) -> None:
        self._session: Session | None = None
        self._spec: ArmSpec | None = None
        self._calls: list[Callable[[], object]] = []
        self._cpus = cpus
        self._threads = Threads()

    def load(self, spec: str, threads: int) -> float:
        """Load the model; seconds that it took."""
        arm = self._spec = ArmSpec.model_validate_json(spec)
        plugin = runtime(arm.runtime)
        begin = perf_counter()
        self._session = plugin.load(arm, threads)
        taken = perf_counter() - begin
        give_back()
        return taken

    def signature(self) -> str:
        """What the loaded file takes and gives."""
        assert self._spec is not None, "load comes first"
        return runtime(self._spec.runtime).signature(self._session).model_dump_json()

    def executed(self) -> dict[str, int]:
        """Operators that the file's session runs; it is loaded once more for this."""
        assert self._spec is not None, "load comes first"
        with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
            return runtime(self._spec.runtime).executed(self._spec, Path(scratch))

    def predict(self, inputs: dict[str, Any]) -> list[Any]:
        """Outputs of one batch."""
        assert self._session is not None, "load comes first"
        return self._session.predict(inputs)

    def shape(self, batches: list[dict[str, Any]]) -> float:
        """Take the batches that the following calls run in turn; seconds of the first call."""
        assert self._session is not None, "load comes first"
        self._calls = [self._session.prepare(inputs) for inputs in batches]
        begin = perf_counter()
        self._calls[0]()
        return perf_counter() - begin

    def warm(self, passes: int) -> list[int]:
        """Nanoseconds of each call of ``passes`` passes over the batches."""
        return self._timed(passes, 0)[0] if passes else []

    def slot(self, seconds: float, least: int) -> dict[str, Any]:
        """Whole passes over the batches: at least ``least``, and until ``seconds`` are filled.

        An untimed call comes first, because other arms have used the CPU's caches meanwhile.
        """
        begin = perf_counter_ns()
        self._calls[0]()
        asked = perf_counter_ns() - begin >= SHORTEST
        if asked:
            self._threads.refresh()
        steal, usage = steal_seconds(), resource.getrusage(resource.RUSAGE_SELF)
        samples, waits = self._timed(least, int(seconds * 1e9), asked)
        after = steal_seconds()
        return {
            "nanoseconds": samples,
            "waited_nanoseconds": waits if any(waits) else (),
            "load": os.getloadavg()[0],
            "steal_seconds": None if steal is None or after is None else round(after - steal, 3),
            "involuntary_switches": resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - usage.ru_nivcsw,
            "mhz": _mhz(self._cpus),
        }

    def peak(self) -> int:
        """Largest resident size of this process so far, in bytes.

        From ``VmHWM`` (proc(5)): ``ru_maxrss`` would be at least the parent's size, which it keeps through exec.
        """
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def _timed(self, least: int, nanoseconds: int, asked: bool = False) -> tuple[list[int], list[int]]:
        """What calls took and, where that is asked, what they waited for a CPU."""
        calls, clock, look = self._calls, perf_counter_ns, self._threads.look if asked else None
        assert calls, "shape comes first"
        samples: list[int] = []
        waits: list[int] = []
        total = passes = 0
        while passes < least or total < nanoseconds:
            for call in calls:
                before = look() if look else {}
                begin = clock()
                call()
                sample = clock() - begin
                samples.append(sample)
                if look:
                    waits.append(held_up(before, look(), sample))
                total += sample
            passes += 1
        return samples, waits


def steal_seconds() -> float | None:
    """Time that the hypervisor has taken from all CPUs since the start, where the system tells."""
    try:
        with Path("/proc/stat").open() as file:
            return int(file.readline().split()[STEAL_FIELD]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def _mhz(cpus: list[int]) -> float | None:
    """Highest current frequency among CPUs, where the system tells."""
    found = []
    for cpu in cpus:
        try:
            found.append(int(Path(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq").read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def begin(name: str, cpus: list[int]) -> None:
    """Pin this process and import a runtime's libraries, before any of them starts threads.

    One that is missing is reported when a model is loaded.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    plugin = runtime(name)
    for library in (*plugin.LIBRARIES, *getattr(plugin, "IMPORTED", ())):
        with contextlib.suppress(ImportError):
            importlib.import_module(library)


def serve(connection: Connection, cpus: list[int]) -> None:
    """Answer messages until the other end is closed."""
    arm = Arm(cpus)
    while True:
        try:
            name, *arguments = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            connection.send(("ok", getattr(arm, name)(*arguments)))
        except (BrokenPipeError, KeyboardInterrupt):
            return
        except Exception as error:
            connection.send(("error", f"{type(error).__name__}: {error}"))


def run(connection: Connection, cpus: list[int]) -> NoReturn:
    """Be an arm until the other end is closed; all threads to come have the priority of what is timed."""
    priority.take()
    serve(connection, cpus)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # to take all libraries down takes longer than a second


if __name__ == "__main__":
    numbers = [int(cpu) for cpu in sys.argv[3].split(",")]
    begin(sys.argv[2], numbers)
    run(Connection(int(sys.argv[1])), numbers)

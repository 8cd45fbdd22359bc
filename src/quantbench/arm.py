"""The process of one timed arm: loads one model, waits on a pipe, runs slots of calls, and does nothing else.

Started as ``python -m quantbench.arm FD`` by ``timing``. Messages are tuples, the first element says what is asked:

    ("load", ArmSpec as JSON, threads, CPU numbers)  -> seconds to load
    ("shape", inputs by name)                        -> seconds of the first call
    ("warm", calls)                                  -> nanoseconds of each call
    ("slot", seconds, least calls)                   -> nanoseconds of each call, after one untimed call
    ("stop",)                                        -> the process ends

The answer is ``("ok", value)`` or ``("error", text)``. The end of the pipe ends the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import perf_counter, perf_counter_ns
from typing import Any

from quantbench.records import ArmSpec
from quantbench.registry import Session, runtime


class Arm:
    """The state of the process: a loaded model and a prepared call."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._call: Callable[[], object] | None = None

    def load(self, spec: str, threads: int, cpus: list[int]) -> float:
        """Pin this process to ``cpus`` and load the model; seconds that the loading took."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cpus)
        arm = ArmSpec.model_validate_json(spec)
        plugin = runtime(arm.runtime)
        begin = perf_counter()
        self._session = plugin.load(arm, threads)
        return perf_counter() - begin

    def shape(self, inputs: dict[str, Any]) -> float:
        """Take inputs for the calls that follow; seconds of the first call."""
        assert self._session is not None, "load comes first"
        self._call = self._session.prepare(inputs)
        begin = perf_counter()
        self._call()
        return perf_counter() - begin

    def warm(self, calls: int) -> list[int]:
        """Nanoseconds of ``calls`` calls."""
        return self._timed(calls, 0)

    def slot(self, seconds: float, least: int) -> list[int]:
        """Nanoseconds of at least ``least`` calls, and as many as fit into ``seconds``, after an untimed one."""
        assert self._call is not None, "shape comes first"
        self._call()
        return self._timed(least, int(seconds * 1e9))

    def _timed(self, least: int, nanoseconds: int) -> list[int]:
        call, clock = self._call, perf_counter_ns
        assert call is not None, "shape comes first"
        samples: list[int] = []
        total = 0
        while len(samples) < least or total < nanoseconds:
            begin = clock()
            call()
            sample = clock() - begin
            samples.append(sample)
            total += sample
        return samples


def serve(connection: Connection) -> None:
    """Answer messages until told to stop or the other end is closed."""
    arm = Arm()
    while True:
        try:
            name, *arguments = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        if name == "stop":
            return
        try:
            connection.send(("ok", getattr(arm, name)(*arguments)))
        except (BrokenPipeError, KeyboardInterrupt):
            return
        except Exception as error:
            connection.send(("error", f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))

"""The parent's end of a timed arm: its process, and questions to it over a pipe that no hanging process holds up."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any, TypeVar

from quantbench.errors import ArmFailed
from quantbench.schema.results import ArmSpec
from quantbench.system.environment import usable_cpus
from quantbench.timing import forks

T = TypeVar("T")
LOAD_TIMEOUT = 600.0
END_TIMEOUT = 2.0
"""Seconds that a process has to end by itself."""
CALL_TIMEOUT = 300.0
"""Seconds without an answer after which an arm counts as hanging; timed calls get this on top of their own length."""


def prepare(runtimes: Collection[str], threads: int) -> None:
    """Begin to import what arms of these runtimes will need, while other work is done."""
    with suppress(OSError):  # told when an arm is started
        for runtime in runtimes:
            forks.prepare(runtime, _cpus(threads))


def _cpus(threads: int) -> list[int]:
    return [cpu.number for cpu in usable_cpus()[:threads]]


class ArmProcess:
    """The parent's end of an arm.

    Raises:
        ArmFailed: if the system starts no process.

    """

    def __init__(self, name: str, spec: ArmSpec, threads: int) -> None:
        self.name = name
        self.load_seconds = 0.0
        self._spec, self._threads = spec, threads
        self._given_up = False
        self._process: forks.Process | None = None
        self._cpus = _cpus(threads)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._connection, self._theirs = Pipe()
        self._system(forks.prepare, spec.runtime, self._cpus)

    @property
    def process(self) -> forks.Process:
        """The arm's process; see :meth:`ready`."""
        assert self._process is not None, "ready comes first"
        return self._process

    def ready(self) -> None:
        """Wait until the libraries are imported and the process is there; raises as :meth:`load`."""
        if self._process is None:
            self._process = self._system(forks.start, self._spec.runtime, self._cpus, self._theirs, self._stderr)
            self._theirs.close()

    def _system(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return work(*arguments)
        except OSError as error:
            self.close()
            raise ArmFailed(f"arm {self.name} cannot be started: {error.strerror or error}") from error

    def load(self) -> None:
        """Load the model; to be called once, before anything else.

        Raises:
            ArmFailed: as all methods here, if the process dies, hangs or reports an error.

        """
        self.ready()
        self.load_seconds = self.ask("load", self._spec.model_dump_json(), self._threads, timeout=LOAD_TIMEOUT)

    def ask(self, *message: Any, timeout: float | None = None) -> Any:
        """Send a message and block until the answer comes, at most ``timeout`` or else CALL_TIMEOUT seconds.

        Sending blocks as well where an arm does not read, so the time limit is kept by ending the process.
        """
        seconds = CALL_TIMEOUT if timeout is None else timeout
        watchdog = threading.Timer(seconds, self._give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._connection.send(message)
            status, value = self._connection.recv()
        except (EOFError, OSError) as error:
            silence = f"arm {self.name} gave no answer to {message[0]!r} within {seconds:.0f} s"
            raise ArmFailed(silence if self._given_up else self._death()) from error
        finally:
            watchdog.cancel()
        if status == "error":
            raise ArmFailed(f"arm {self.name}: {value}")
        return value

    def _give_up(self) -> None:
        self._given_up = True
        self.process.kill()

    def close(self) -> None:
        """End the process, whatever state it is in."""
        for end in (self._connection, self._theirs):
            end.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=END_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._stderr.close()

    def _death(self) -> str:
        try:
            code = self.process.wait(timeout=END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"arm {self.name} closed its pipe"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"arm {self.name} {how}{hint}{': ' + lines[-1] if lines else ''}"

"""The parent's end of a timed arm: its process, and questions to it over a pipe that no hanging process holds up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from multiprocessing import Pipe
from typing import Any

from quantbench.errors import ArmFailed
from quantbench.schema.results import ArmSpec
from quantbench.system import allocator
from quantbench.system.environment import usable_cpus

LOAD_TIMEOUT = 600.0
END_TIMEOUT = 2.0
"""Seconds that a process has to end by itself."""
CALL_TIMEOUT = 300.0
"""Seconds without an answer after which an arm counts as hanging; timed calls get this on top of their own length."""


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
        try:
            self._start()
        except OSError as error:
            raise ArmFailed(f"arm {name} cannot be started: {error.strerror or error}") from error

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._connection, child = Pipe()
        cpus = [cpu.number for cpu in usable_cpus()[: self._threads]]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "quantbench.timing.arm",
                str(child.fileno()),
                self._spec.runtime,
                ",".join(map(str, cpus)),
            ],
            env={**os.environ, **allocator.variables()},
            pass_fds=[child.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            start_new_session=True,
        )
        child.close()

    @property
    def pid(self) -> int:
        """Process number of the arm."""
        return self._process.pid

    def ready(self) -> None:
        """Wait until the process has imported its libraries; raises as :meth:`load`."""
        self.ask("ready", timeout=LOAD_TIMEOUT)

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
        self._process.kill()

    def close(self) -> None:
        """End the process, whatever state it is in."""
        self._connection.close()
        try:
            self._process.wait(timeout=END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _death(self) -> str:
        try:
            code = self._process.wait(timeout=END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"arm {self.name} closed its pipe"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"arm {self.name} {how}{hint}{': ' + lines[-1] if lines else ''}"

"""Processes that have imported a runtime's libraries, and of which timed arms are forked without importing them again.

Eager PyTorch's libraries take 4 to 9 s of a CPU to import, and a benchmark starts every arm several times. So one
process per runtime, started as ``python -m quantbench.timing.forks FD RUNTIME CPU,CPU``, imports them before anything
starts threads, and then waits on a pipe, where it takes no time from what is timed. It answers

    ("fork",), then the descriptors of the arm's pipe and of its output  -> number of the new process
    ("ended", process number, seconds)                                   -> its exit code, None if it still runs by then

and ends with its pipe. Forks are safe on Linux alone; elsewhere every arm is a process that imports for itself.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing import Pipe, reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Protocol

from quantbench.system import allocator
from quantbench.timing import arm

SAFE = sys.platform == "linux"
IMPORT_TIMEOUT = 600.0
"""Seconds that importing libraries may take."""
GLANCE = 0.01
"""Seconds between two looks at whether a process has ended."""


class Process(Protocol):
    """What an arm's process is to its parent, as of ``subprocess.Popen``."""

    pid: int

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for signals; raises ``subprocess.TimeoutExpired`` after so many seconds."""


class Forked:
    """An arm that a server has forked."""

    def __init__(self, server: _Server, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended; its number is not given away before it was waited for."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for signals.

        Raises:
            subprocess.TimeoutExpired: if the process has not ended after so many seconds.

        """
        if self._code is None:
            self._code = self._server.ended(self.pid, timeout)
        if self._code is None:
            raise subprocess.TimeoutExpired([f"arm {self.pid}"], timeout or 0.0)
        return self._code


class _Server:
    """The parent's end of a process that forks arms."""

    def __init__(self, runtime: str, cpus: Sequence[int], given: tuple[Any, ...]) -> None:
        self.given, self.imported = given, False
        self._connection, theirs = Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = _python("quantbench.timing.forks", theirs, runtime, cpus, self._output)
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, pipe: Connection, output: IO[bytes]) -> Forked:
        """A new arm, as soon as the libraries are imported."""
        try:
            self._connection.send(("fork",))
            for descriptor in (pipe.fileno(), output.fileno()):
                reduction.send_handle(self._connection, descriptor, self._process.pid)
            if not self._connection.poll(IMPORT_TIMEOUT):
                self._process.kill()  # its answer would be taken for that to the next question
                raise OSError(f"its libraries were not imported within {IMPORT_TIMEOUT:.0f} s")
            pid = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise OSError(f"its libraries could not be imported: {self._last_words()}") from error
        self.imported = True
        if isinstance(pid, str):
            raise OSError(pid)
        return Forked(self, pid)

    def _last_words(self) -> str:
        code = self._process.wait()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"

    def ended(self, pid: int, timeout: float | None) -> int | None:
        """The exit code of an arm, None if it runs on; SIGKILL where the server is gone, with which its arms end."""
        try:
            self._connection.send(("ended", pid, timeout))
            code: int | None = self._connection.recv()
        except (EOFError, OSError):
            return -signal.SIGKILL
        return code

    def close(self) -> None:
        """End the process; what it has forked ends with its own pipes."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._output.close()


_servers: dict[tuple[int, str, tuple[int, ...]], _Server] = {}
"""By this process, runtime and CPUs."""


def prepare(runtime: str, cpus: Sequence[int]) -> None:
    """Begin to import a runtime's libraries in a process pinned to some CPUs, unless they are there already."""
    if SAFE:
        _server(runtime, cpus)


def start(runtime: str, cpus: Sequence[int], pipe: Connection, output: IO[bytes]) -> Process:
    """An arm's process, which answers on a pipe and writes whatever libraries say to a file.

    Raises:
        OSError: if the system starts none.

    """
    if not SAFE:
        return _python("quantbench.timing.arm", pipe, runtime, cpus, output)
    server = _server(runtime, cpus)
    try:
        return server.fork(pipe, output)
    except OSError:
        if server.alive or not server.imported:
            raise
        return _server(runtime, cpus).fork(pipe, output)  # the other was killed since it forked last


def close() -> None:
    """End all processes that wait to be forked from, but not those of a process that this one is a copy of."""
    for key in [key for key in _servers if key[0] == os.getpid()]:
        _servers.pop(key).close()


def _server(runtime: str, cpus: Sequence[int]) -> _Server:
    """The one of a runtime and CPUs; a new one where what it was given has changed."""
    key, given = (os.getpid(), runtime, tuple(cpus)), _given()
    found = _servers.get(key)
    if found is not None and not (found.alive and found.given == given):
        _servers.pop(key).close()
        found = None
    if found is None:
        found = _servers[key] = _Server(runtime, cpus, given)
    return found


def _given() -> tuple[Any, ...]:
    """What a process has from the one that starts it: the interpreter, the folder and the variables."""
    return (sys.executable, str(Path.cwd()), *sorted(os.environ.items()))


def _python(
    module: str, pipe: Connection, runtime: str, cpus: Sequence[int], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module, str(pipe.fileno()), runtime, ",".join(map(str, cpus))],
        env={**os.environ, **allocator.variables()},
        pass_fds=[pipe.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def _serve(connection: Connection, cpus: list[int]) -> None:
    """Answer messages until the other end is closed."""
    while True:
        try:
            name, *arguments = connection.recv()
            if name == "ended":
                connection.send(_ended(*arguments))
                continue
            pipe, output = reduction.recv_handle(connection), reduction.recv_handle(connection)
        except (EOFError, OSError):
            return
        try:
            pid: int | str = os.fork()
        except OSError as error:
            pid = error.strerror or str(error)
        if pid == 0:
            connection.close()
            _become(pipe, output, cpus)
        os.close(pipe)
        os.close(output)
        connection.send(pid)


def _become(pipe: int, output: int, cpus: list[int]) -> None:
    """Be an arm, in a session of its own, until its pipe is closed."""
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        arm.run(Connection(pipe), cpus)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _ended(pid: int, timeout: float | None) -> int | None:
    """The exit code of an arm, None if it still runs after so many seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        found, status = os.waitpid(pid, os.WNOHANG if deadline is not None else 0)
        if found:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            return None
        time.sleep(GLANCE)


atexit.register(close)

if __name__ == "__main__":
    numbers = [int(cpu) for cpu in sys.argv[3].split(",")]
    arm.begin(sys.argv[2], numbers)
    _serve(Connection(int(sys.argv[1])), numbers)
    os._exit(0)

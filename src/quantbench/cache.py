"""The folder that all benchmarks of a user on this machine share: finished work by content, and the timing lock.

Exports, ranges and predictions are kept under a hash of everything that they depend on, so that no benchmark repeats
what another did. Timing needs the machine for itself, so whoever measures holds the lock.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantbench.errors import BadInput, Mistake
from quantbench.progress import Reporter

VARIABLE = "QUANTBENCH_CACHE"
"""Environment variable that names another folder."""
LOCK_FILE = "measuring.lock"
POLL_SECONDS = 0.5


def folder() -> Path:
    """``$QUANTBENCH_CACHE``, or ``quantbench`` in the user's cache folder (XDG Base Directory Specification)."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "quantbench"


@contextmanager
def alone(at: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the lock of the machine while measuring; wait for another benchmark to end. May be nested in a process.

    The operating system frees the lock of a process that dies, however it dies.

    Raises:
        BadInput: if the folder ``at`` cannot be written to.

    """
    from filelock import FileLock, Timeout

    try:
        at.mkdir(parents=True, exist_ok=True)
        lock = FileLock(at / LOCK_FILE, is_singleton=True, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with reporter.stage("Waiting for another benchmark on this machine to end", 1) as advance:
                lock.acquire(poll_interval=POLL_SECONDS)
                advance(1)
    except OSError as error:
        message = f"cannot be written to: {error.strerror or error}; name another folder in {VARIABLE}"
        raise BadInput([Mistake(str(at), message)]) from error
    try:
        yield
    finally:
        lock.release()


def size(at: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(path.stat().st_size for path in at.rglob("*") if path.is_file())


def clear(at: Path) -> None:
    """Delete everything that is kept; what is needed again is made again."""
    for path in at.iterdir() if at.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)

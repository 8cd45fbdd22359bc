"""The folder that all benchmarks of a user share, and the lock of the machine that they measure on.

Exports, ranges and predictions are kept under a hash of everything that they depend on, so that no benchmark repeats
what another did. Timing needs the machine for itself, so whoever measures holds its lock. The lock is a name in the
abstract namespace of Unix sockets (unix(7)): all users of a machine share it whatever their folders are, machines that
share a folder do not, it needs no file, and the system frees it when its process dies. Containers with a network of
their own do not see each other.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from quantbench.errors import BadInput, Mistake
from quantbench.schema.reporter import Reporter
from quantbench.system.files import unwritable

VARIABLE = "QUANTBENCH_CACHE"
"""Environment variable that names another folder."""
LOCK_VARIABLE = "QUANTBENCH_LOCK"
"""Environment variable that names another lock, for parts of a machine that do not disturb each other."""
LOCK = "quantbench-measuring"
BESIDE = f"{LOCK_VARIABLE}=NAME runs beside it, at the cost of what both time"
IN_USE = "in-use.lock"
"""File that benchmarks lock in their folder, together, so that nobody clears it meanwhile."""
TAG = "CACHEDIR.TAG"
TAG_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by quantbench; 'quantbench cache --clear' empties it.\n"
)
"""Cache Directory Tagging Specification: backups leave such a folder out."""
KEPT = ("agreements", "checkpoints", "float", "merged", "noise", "predictions", "ranges", "statistics", IN_USE)
"""What benchmarks make in their folder."""
POLL_SECONDS = 0.5
WAITING = 64
"""Benchmarks that may ask who holds the lock."""
_PEER = struct.Struct("3i")
"""``struct ucred`` of SO_PEERCRED: process, user, group (unix(7))."""

_held: dict[str, tuple[socket.socket, int]] = {}
"""Locks of this process and how often each is held."""


def folder() -> Path:
    """``$QUANTBENCH_CACHE``, or ``quantbench`` in the user's cache folder (XDG Base Directory Specification).

    Raises:
        BadInput: if there is neither a name nor a home folder.

    """
    named = os.environ.get(VARIABLE)
    return _expanded(named).absolute() if named else _expanded(_user_caches()) / "quantbench"


def check() -> None:
    """See that there are folders to keep things in: ours, that of data sets, and one for what is temporary.

    Raises:
        BadInput: if one of them cannot be written to, with the variables that name others.

    """
    needed = {VARIABLE: folder(), "HF_HOME": _expanded(_datasets_folder(os.environ))}
    problems = {path: unwritable(path) for path in needed.values()}
    found = [f"{path} ({error.strerror or error})" for path, error in problems.items() if error is not None]
    if found:
        raise BadInput([Mistake(" and ".join(needed), _name_folders(f"{' and '.join(found)} cannot be written to"))])
    _make(folder())
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise BadInput([Mistake("TMPDIR", f"{error.strerror}; name a folder that can be written to")]) from error


def _datasets_folder(variables: Mapping[str, str]) -> str:
    """Where ``datasets`` keeps what it has read (Hugging Face, "Environment variables")."""
    home = variables.get("HF_HOME") or f"{_user_caches()}/huggingface"
    return variables.get("HF_DATASETS_CACHE") or f"{home}/datasets"


def _user_caches() -> str:
    return os.environ.get("XDG_CACHE_HOME") or "~/.cache"


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        message = _name_folders(f"user {os.getuid()} has no home folder to keep {path} in")
        raise BadInput([Mistake(f"{VARIABLE} and HF_HOME", message)]) from error


def _name_folders(problem: str) -> str:
    return f"{problem}; set {VARIABLE} and HF_HOME to folders that can be written to"


@contextmanager
def alone(at: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the machine while measuring, and the folder ``at`` against being cleared. May be nested in a process.

    Waits for another benchmark on the machine to end, and says whose it is where the system tells.

    Raises:
        BadInput: if the folder cannot be written to.

    """
    name = os.environ.get(LOCK_VARIABLE) or LOCK
    with _using(at, fcntl.LOCK_SH, reporter):
        _acquire(name, reporter)
        try:
            yield
        finally:
            _release(name)


def _acquire(name: str, reporter: Reporter) -> None:
    if name in _held:
        held, times = _held[name]
        _held[name] = held, times + 1
        return
    lock = _bound(name)
    if lock is None:
        what = f"Waiting for another benchmark on this machine to end{_holder(name)}; {BESIDE}"
        with reporter.stage(what, 1) as advance:
            lock = _bound_at_last(name)
            advance(1)
    _held[name] = lock, 1


def _bound_at_last(name: str) -> socket.socket:
    while True:
        time.sleep(POLL_SECONDS)
        lock = _bound(name)
        if lock is not None:
            return lock


def _release(name: str) -> None:
    lock, times = _held.pop(name)
    if times > 1:
        _held[name] = lock, times - 1
    else:
        lock.close()


def _bound(name: str) -> socket.socket | None:
    """A socket that has the name, or None where another has it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0{name}")
        lock.listen(WAITING)  # which is what tells the others whose it is
    except OSError:
        lock.close()
        return None
    return lock


def _holder(name: str) -> str:
    """Whose the lock is, in brackets; empty where the system does not tell, as of a process in another container."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(POLL_SECONDS)
            asking.connect(f"\0{name}")
            process, user, _ = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    except OSError:
        return ""
    try:
        owner = pwd.getpwuid(user).pw_name
    except KeyError:
        owner = str(user)
    return f" (process {process} of user {owner})" if process else ""


@contextmanager
def _using(at: Path, how: int, reporter: Reporter) -> Iterator[None]:
    """Lock the folder, made where it is missing; file systems without locks leave it unlocked."""
    try:
        _make(at)
        file = (at / IN_USE).open("ab")
    except OSError as error:
        message = f"cannot be written to: {error.strerror or error}; name another folder in {VARIABLE}"
        raise BadInput([Mistake(str(at), message)]) from error
    with file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            with reporter.stage(f"Waiting for those who use {at} to end", 1) as advance:
                fcntl.flock(file, how)
                advance(1)
        except OSError:
            pass  # no locks here, as on some network file systems
        yield


def _make(at: Path) -> None:
    """Make the folder where it is missing, and tag what is empty or holds nothing but what benchmarks keep."""
    at.mkdir(parents=True, exist_ok=True)
    if not (at / TAG).exists() and all(path.name in KEPT for path in at.iterdir()):
        (at / TAG).write_bytes(TAG_TEXT)


def size(at: Path) -> int:
    """Bytes of all that is kept in the folder; others may come and go meanwhile."""
    total = 0
    for path in at.glob("*/**/*"):
        try:
            total += path.lstat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def clear(at: Path, reporter: Reporter) -> None:
    """Delete everything that is kept; what is needed again is made again. Waits for those who use it.

    Raises:
        BadInput: if the folder is none that a benchmark has made; nothing is deleted then.

    """
    if not at.is_dir():
        return
    if any(at.iterdir()):
        _make(at)
    if not (at / TAG).is_file():
        message = f"was not made by quantbench (no {TAG} in it); empty it by hand, or name another in {VARIABLE}"
        raise BadInput([Mistake(str(at), message)])
    with _using(at, fcntl.LOCK_EX, reporter):
        for path in at.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)

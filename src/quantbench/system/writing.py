"""Whole files or none, and what to do where there is no place for them."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from quantbench.errors import BadInput, Mistake
from quantbench.system import cache

SCRATCH = "quantbench-"
"""How the names of scratch folders begin."""


def write_atomically(path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a whole file or nothing: a temporary file beside it, flushed to disk, then renamed.

    Args:
        path: the file; its folder is made.
        data: its content, or parts of that in their order.

    Raises:
        BadInput: if the folder cannot be written to or the disk is full; no partial file stays.

    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise BadInput([Mistake(str(path), write_problem(error, path))]) from error


def write_saved(folder: Path, save: Callable[[str], object]) -> None:
    """Write the files that ``save`` puts into a folder, each as a whole.

    Raises:
        BadInput: as :func:`write_atomically`.

    """
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        save(scratch)
        for file in Path(scratch).iterdir():
            write_atomically(folder / file.name, file.read_bytes())


def write_problem(error: OSError, path: Path) -> str:
    """Why a path cannot be written to, and what to do about it, for a message."""
    remedy = _other_place(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space to write it ({error.strerror}); free some or {remedy}; what was finished is kept"
    return f"cannot be written: {error.strerror or error}; {remedy}"


def _other_place(path: Path) -> str:
    """How to name another place for what is written at ``path``: the shared cache, scratch, or an output folder."""
    scratch = Path(tempfile.gettempdir()) / SCRATCH
    if path.absolute().is_relative_to(cache.folder()):
        return f"name another folder in {cache.VARIABLE}"
    if any(part.match(f"{scratch}*") for part in (path.absolute(), *path.absolute().parents)):
        return "name another folder in TMPDIR"
    return "choose another --out"

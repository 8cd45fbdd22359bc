"""Files by content, and whether they can be written."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quantbench.schema.base import digest


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def content_sha256(files: Sequence[Path]) -> str:
    """Hash of the content of a model: that of its file, or of the hashes of several."""
    hashes = [file_sha256(file) for file in files]
    return hashes[0] if len(hashes) == 1 else digest(list(hashes))


def unwritable(folder: Path) -> OSError | None:
    """Why nothing can be written to a folder that is there or would be made; None where it can.

    Found out by a file without a name in the nearest folder that exists: permission bits alone do not tell, as they
    mean nothing to root, and nothing on a read-only file system.
    """
    try:
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing):
            return None
    except OSError as error:
        return error

"""Models that are one file without a graph that could be looked into."""

from __future__ import annotations

from pathlib import Path

from quantbench.plugins.quantizing import Inspection
from quantbench.system.files import file_sha256


def files(path: Path) -> tuple[Path, ...]:
    """The file; what stands beside it only says what it is."""
    return (path,)


def inspect(path: Path) -> Inspection:
    """There is no graph: what is computed is as different as the file is."""
    return Inspection({}, file_sha256(path))

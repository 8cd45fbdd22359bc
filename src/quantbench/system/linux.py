"""What Linux tells of the machine in files, below a root folder: ``/``, or a copy of another machine's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Linux:
    """A machine as its ``/proc`` and ``/sys`` describe it."""

    root: Path = Path("/")

    def read(self, path: str) -> str | None:
        """The text of a file, without blanks around it; None where the system does not tell."""
        try:
            return self._at(path).read_text(errors="replace").strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file that holds a whole number; None where it does not, or is not there."""
        try:
            return int(self.read(path) or "")
        except ValueError:
            return None

    def cpus(self, path: str) -> list[int] | None:
        """A file that lists CPUs, such as ``0-3,8``; None where it does not, or is not there."""
        text = self.read(path)
        if text is None:
            return None
        found: list[int] = []
        try:
            for part in filter(None, text.split(",")):
                first, _, last = part.partition("-")
                found += range(int(first), int(last or first) + 1)
        except ValueError:
            return None
        return found

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")


HERE = Linux()


def allowed_cpus() -> list[int]:
    """Numbers of the CPUs that this process may run on, by its affinity."""
    return sorted(os.sched_getaffinity(0))

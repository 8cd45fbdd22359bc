"""The package's own source by content: what was made by other code is not taken for the work of this one."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

TELLING = ("cli.py", "cli_options.py", "__main__.py", "launchers", "reports")
"""Files and folders that only tell of results or call for them; a change of theirs changes nothing that is kept."""


@cache
def fingerprint(package: Path = Path(__file__).parents[1]) -> str:
    """SHA-256 over names and contents of the modules that do the work; some milliseconds, once per process."""
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if not any(name == told or name.startswith(f"{told}/") for told in TELLING):
            total.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()

"""Reports of a folder are rendered again only where something has changed since: a grid's take longer than a look.

What was rendered, and from what, is kept in the folder beside the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import JsonValue

from quantbench.results.store import CONFIG_FILE, Store
from quantbench.schema.base import digest
from quantbench.schema.results import Skipped
from quantbench.schema.version import __version__
from quantbench.system.writing import write_atomically

FILE = ".rendered.json"


def kept(store: Store, skipped: Sequence[Skipped], width: int, files: Sequence[str], render: Callable[[], str]) -> str:
    """The table for a terminal, from the last time where nothing has changed.

    Args:
        store: the folder of the results.
        skipped: combinations that are told beside them.
        width: of the terminal.
        files: names of the reports that rendering writes into the folder.
        render: writes these files and returns the table.

    """
    path = store.folder / FILE
    origin = _origin(store, skipped, width)
    last = _read(path)
    if last is not None and last[0] == digest([origin, _stamps(store.folder, files)]):
        return last[1]
    table = render()
    document = {"of": digest([origin, _stamps(store.folder, files)]), "table": table}
    write_atomically(path, json.dumps(document).encode())
    return table


def _read(path: Path) -> tuple[str, str] | None:
    """What a table was rendered from, and the table; None where there is none, or none that can be read."""
    try:
        document = json.loads(path.read_bytes())
        return str(document["of"]), str(document["table"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _origin(store: Store, skipped: Sequence[Skipped], width: int) -> str:
    """Hash of everything that the reports depend on: results, configuration, this program and the terminal."""
    package = Path(__file__).parents[1]
    results = [f"results/{path.name}" for path in sorted((store.folder / "results").glob("[!.]*.json"))]
    code = [str(path.relative_to(package)) for path in sorted(package.rglob("*.py*")) if path.suffix != ".pyc"]
    left_out: list[JsonValue] = [item.model_dump(mode="json") for item in skipped]
    mine, own = _stamps(store.folder, [CONFIG_FILE, *results]), _stamps(package, [*code, "reports/card.md.jinja"])
    return digest([__version__, width, left_out, mine, own])


def _stamps(folder: Path, names: Sequence[str]) -> list[JsonValue]:
    """Name, size and time of every file that is there."""
    found = ((name, folder / name) for name in names)
    stats = ((name, path.stat()) for name, path in found if path.is_file())
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]

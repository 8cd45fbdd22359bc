"""Folders that ``save_to_disk`` of the library ``datasets`` wrote: a data set, or splits in folders of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quantbench.sources.hub import mistake

SPLITS, STATE = "dataset_dict.json", "state.json"
"""Files that say that a folder holds splits, and that it holds a data set."""


def saved_splits(folder: Path) -> dict[str, Path] | None:
    """Folders of data sets by split, of which a data set alone has ``train``; None if a folder is of another kind.

    Raises:
        BadInput: if a split is not there that the folder names.

    """
    if (folder / STATE).is_file():
        return {"train": folder}
    if not (folder / SPLITS).is_file():
        return {path.name: path for path in sorted(folder.iterdir()) if (path / STATE).is_file()} or None
    names = json.loads((folder / SPLITS).read_text(encoding="utf-8"))["splits"]
    lacking = next((name for name in names if not (folder / name / STATE).is_file()), None)
    if lacking is not None:
        message = f"{folder} names the split {lacking!r} in {SPLITS}, and {folder / lacking / STATE} is not there"
        raise mistake("dataset.path", f"{message}; save it again")
    return {name: folder / name for name in names}


def read_saved(folder: Path) -> Any:
    """A data set, whose rows stay in its files."""
    import datasets

    return datasets.load_from_disk(str(folder))

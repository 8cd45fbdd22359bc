"""Relative paths of models and data belong to the file that names them.

A path in a YAML file is looked for in the file's own folder first, then in the folder that the command is called from;
one of ``--set`` in the latter only. Settings keep what was written, so that a run's key is the same from everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantbench import embedded
from quantbench.errors import Mistake
from quantbench.schema.settings import Config

KEY = "places"
"""In the ``config.yaml`` of an output folder: the full paths of what relative ones name."""
OVERRIDE = "--set "


def found(config: Config, folder: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Full paths of what a file's relative paths name, by these: as known from before, or in the file's folder.

    What lies in neither is left out, and looked for where the command is called.
    """
    places = {}
    for key, name in _relative(config):
        if config.where(key).startswith(OVERRIDE):
            continue
        for path in (Path(known[name]), folder / name) if name in known else (folder / name,):
            if _exists(path):
                places[name] = str(path)
                break
    return places


def in_full(config: Config) -> dict[str, str]:
    """Full paths of everything on this machine that a configuration names by a relative one."""
    names = dict.fromkeys(name for _, name in _relative(config))
    full = {name: Path(config.places.get(name, name)).absolute() for name in names}
    return {name: str(path) for name, path in full.items() if _exists(path)}


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name that no file can have is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def mistakes(known: object, where: str) -> list[Mistake]:
    """What is wrong with the places that a file knows."""
    if isinstance(known, Mapping) and all(isinstance(text, str) for pair in known.items() for text in pair):
        return []
    return [Mistake(where, f"{KEY} must map relative paths to full ones, or be left out")]


def _relative(config: Config) -> Iterator[tuple[str, str]]:
    """Dotted key and name of everything that may be a relative path, fixed or benchmarked."""
    for key, name in _named(config):
        if name and name != embedded.NAME and not name.startswith(("/", "~")):
            yield key, name


def _named(config: Config) -> Iterator[tuple[str, str]]:
    varied: dict[str, tuple[Any, ...]] = {dimension.key: dimension.values for dimension in config.dimensions}
    for name in varied.get("model_name_or_path", (config.base.model_name_or_path,)):
        yield "model_name_or_path", str(name)
    whole = [value.get("path", "") for value in varied.get("dataset", ()) if isinstance(value, Mapping)]
    key = "dataset" if whole else "dataset.path"
    for name in whole or varied.get("dataset.path", (config.base.dataset.path,)):
        yield key, str(name)

"""Result folders made one, by content: what several machines, or several calls, measured of the same configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantbench.analysis import machines
from quantbench.errors import BadInput, Mistake
from quantbench.plugins.former import spelled_out
from quantbench.results.store import Store
from quantbench.schema.base import digest
from quantbench.schema.results import Result
from quantbench.schema.settings import Config

NAME_DIGITS = 8


@dataclass(frozen=True)
class Merged:
    """What came of it: results taken, and what was left out because another folder had it too."""

    taken: int
    repeated: tuple[str, ...]


def merge(folders: Sequence[Path], target: Path) -> Merged:
    """Unite folders of one configuration, which may differ in its backend, into a new or an already merged one.

    A run that was measured on unlike machines stands once for each. Of a run measured twice on alike machines the first
    that is done is kept.

    Raises:
        BadInput: if a folder holds no benchmark, or the configurations differ in more than the backend; nothing is
            written then.

    """
    for folder in folders:
        if folder.resolve() == target.resolve():
            raise BadInput([Mistake(f"--out {target}", "is one of the folders to merge; choose a new one")])
    stores = [Store(folder) for folder in folders]
    configs = [store.config() for store in stores]
    for folder, config in zip(folders, configs, strict=True):
        differing = _differing(configs[0], config)
        if differing:
            message = f"is of another configuration than {folders[0]} (they differ in: {', '.join(differing)}); "
            raise BadInput([Mistake(str(folder), message + "merge folders of one configuration")])
    found = [(store.folder, result) for store in stores for result in store.results()]
    into = Store(target)
    held = into.stored_for(configs[0])
    kept, repeated = _chosen(found, held)
    with into.claimed(configs[0]):
        for folder, result in kept:
            _take(folder, result, into)
    return Merged(len(kept), repeated)


def _differing(first: Config, second: Config) -> list[str]:
    """Parameters but the backend in which two configurations differ."""
    one, other = first.model_dump(mode="json"), second.model_dump(mode="json")
    found = [key for key in one["base"] if key != "backend" and one["base"][key] != other["base"].get(key)]
    return found + ([] if one["dimensions"] == other["dimensions"] else ["benchmarked"])


def _what(result: Result) -> str:
    """What a result measured, wherever: its settings without the backend."""
    settings = spelled_out(result.run.settings)
    del settings["backend"]
    return digest(settings)


def _chosen(
    found: Sequence[tuple[Path, Result]], held: Sequence[Result]
) -> tuple[list[tuple[Path, Result]], tuple[str, ...]]:
    """The results to take, finished ones first, and sentences about those that are left out."""
    kept: list[tuple[Path, Result]] = []
    repeated: list[str] = []
    for folder, result in sorted(found, key=lambda item: not item[1].done):
        others = [*held, *(one for _, one in kept)]
        twin = next((one for one in others if _what(one) == _what(result) and _alike(one, result)), None)
        if twin is None:
            kept.append((folder, result))
        elif twin != result:
            repeated.append(f"{result.run.name} of {folder}: the same run is there from an alike machine already")
    return kept, tuple(repeated)


def _alike(first: Result, second: Result) -> bool:
    return not machines.unlike(first.environment, second.environment)


def _take(folder: Path, result: Result, into: Store) -> None:
    """Store a result and its model; where the same name holds another model, under a name with its hash."""
    if result.artifact is not None:
        source = folder / result.artifact.path
        name = source.parent.name
        target = into.folder / "models" / name
        if target.exists() and _sha256(target) != result.artifact.sha256:
            target = target.with_name(f"{name}-{result.artifact.sha256[:NAME_DIGITS]}")
        if source.is_file() and not target.exists():
            _copy(source.parent, target)
        path = str((target / source.name).relative_to(into.folder))
        result = result.model_copy(update={"artifact": result.artifact.model_copy(update={"path": path})})
    into.save(result, beside=True)


def _copy(folder: Path, target: Path) -> None:
    try:
        shutil.copytree(folder, target)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise BadInput([Mistake(str(target), f"cannot be written: {error.strerror or error}")]) from error


def _sha256(folder: Path) -> str:
    """Hash of the model in a run's folder, as it was written there."""
    try:
        return str(json.loads((folder / "quantbench.json").read_bytes())["artifact"]["sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""

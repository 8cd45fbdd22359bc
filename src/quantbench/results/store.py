"""The output folder: one JSON document per result, every file written atomically.

DIR/config.yaml            the configuration that the folder belongs to, every default spelled out
DIR/results/<key>.json     one self-sufficient document per run
DIR/models/<run name>/     the optimized models
DIR/timing/                what an interrupted timing has finished
DIR/cache/                 versions that a search tries
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from quantbench.config.load import dump_config, load_config
from quantbench.errors import BadInput, Mistake
from quantbench.plugins.former import as_before
from quantbench.schema.base import digest
from quantbench.schema.results import SCHEMA_VERSION, Result
from quantbench.schema.settings import Config
from quantbench.system.files import unwritable
from quantbench.system.garbage import uncollected
from quantbench.system.writing import write_atomically, write_problem

CONFIG_FILE = "config.yaml"
OUTCOMES, ROWS_BEGIN, ROWS_END = b'"outcomes":', b"[[", b"]]"
"""What stands before the outcomes of an arm, at their beginning and at their end, as documents are written."""
WORTH_KEEPING = ("results", "jobs", "tuning.json")
"""What of a folder is worth to go on from: finished runs, jobs that run elsewhere, the state of a search."""


class Store:
    """An output folder."""

    def __init__(self, folder: Path, places: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.places = places or {}

    @property
    def cache(self) -> Path:
        """Folder of the versions that a search tries."""
        return self.folder / "cache"

    def stored_for(self, config: Config) -> list[Result]:
        """The results that the folder already holds for a configuration; none where there is no folder yet.

        Raises:
            BadInput: if the folder belongs to another configuration or to something else, or cannot be written to.

        """
        _check_writable(self.folder)
        if not self.folder.exists():
            return []
        if all(path.name.startswith(f".{CONFIG_FILE}.") for path in self.folder.iterdir()):
            return []  # empty, or left by a process that died before anything was stored
        if not (self.folder / CONFIG_FILE).exists():
            raise BadInput([Mistake(str(self.folder), "is not empty and holds no benchmark; choose another --out")])
        held = self.config()
        if _question(held) != _question(config):
            raise BadInput([Mistake(str(self.folder), _other_config(held, config))])
        return self.results()

    def open(self, config: Config) -> None:
        """Claim the folder for a configuration. Call :meth:`stored_for` first."""
        path = self.folder / CONFIG_FILE
        if not path.exists():
            write_atomically(path, dump_config(config).encode())

    @contextmanager
    def claimed(self, config: Config) -> Iterator[None]:
        """Hold the folder for a configuration while it is worked on. Call :meth:`stored_for` first.

        Where the input turns out to be bad before anything is finished, all that was made since is removed, so that
        what cannot be used leaves nothing behind.
        """
        above = (self.folder, *self.folder.parents)
        made = [folder for folder in above if not folder.exists()]
        before = set() if made else set(self.folder.iterdir())
        new = not (self.folder / CONFIG_FILE).exists()
        try:
            self.open(config)
            yield
        except BadInput:
            if new and not any(_holds_something(self.folder / name) for name in WORTH_KEEPING):
                self._give_back(before, made)
            raise

    def _give_back(self, before: Collection[Path], made: Sequence[Path]) -> None:
        for path in set(self.folder.iterdir()) - set(before) if self.folder.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for folder in made:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()

    def config(self) -> Config:
        """The configuration that the folder belongs to.

        Raises:
            BadInput: if there is none or it cannot be read.

        """
        path = self.folder / CONFIG_FILE
        if not path.exists():
            raise BadInput([Mistake(str(self.folder), f"holds no benchmark (no {CONFIG_FILE} in it)")])
        return load_config(path)

    def save(self, result: Result, beside: bool = False) -> None:
        """Store the result of a run, in place of an earlier one of the same run or, from another machine, beside it."""
        machine = f"-{digest(result.environment.model_dump(mode='json'))[:8]}" if beside else ""
        path = self.folder / "results" / f"{result.run.key}{machine}.json"
        write_atomically(path, result.model_dump_json().encode())

    def results(self, seen: Callable[[Result], object] | None = None) -> list[Result]:
        """All stored results, by run name; a failure is left out where the same run was done by another call.

        Args:
            seen: told of each as it is read.

        Raises:
            BadInput: if a document is damaged or of another schema version.

        """
        paths = sorted((self.folder / "results").glob("[!.]*.json"))
        with uncollected():
            reader = _Reader()
            found = []
            for path in paths:
                found.append(reader.read(path))
                if seen is not None:
                    seen(found[-1])
            gc.freeze()  # no cycles are in them, which a search would take a second to find
        done = {result.run.key for result in found if result.done}
        kept = (result for result in found if result.done or result.run.key not in done)
        return sorted(kept, key=lambda result: result.run.name)


def _question(config: Config) -> str:
    data = config.model_dump(mode="json")
    return digest({**data, "base": as_before(data["base"])})


def _holds_something(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.glob("[!.]*")))


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to."""
    problem = unwritable(folder)
    if isinstance(problem, NotADirectoryError):
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        what = "is a file" if existing == folder.absolute() else f"cannot be made: {existing} is a file"
        raise BadInput([Mistake(str(folder), f"{what}; choose another --out")])
    if problem is not None:
        raise BadInput([Mistake(str(folder), write_problem(problem, folder))])


class _Reader:
    """Reads documents of results, of which those of a grid have the outcomes of one original: these are read once."""

    def __init__(self) -> None:
        self._outcomes: dict[bytes, tuple[tuple[int | float, ...], ...]] = {}

    def read(self, path: Path) -> Result:
        """The result of a document."""
        again = "delete it and run again, only this run is repeated"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadInput([Mistake(str(path), f"cannot be read: {error.strerror}; {again}")]) from error
        try:
            result = self._parsed(data)
        except ValidationError as error:
            version = _version(data)
            if version == SCHEMA_VERSION:
                raise BadInput([Mistake(str(path), f"is damaged; {again}")]) from error
        else:
            version = result.schema_version
            if version == SCHEMA_VERSION:
                return result
        message = f"has schema version {version}, this quantbench reads {SCHEMA_VERSION}; use the version that wrote it"
        raise BadInput([Mistake(str(path), message)])

    def _parsed(self, data: bytes) -> Result:
        """The result of a text; its first outcomes are those of the arm that is scored first, the original."""
        _, found, after = data.partition(OUTCOMES)
        begin = len(data) - len(after)
        end = data.find(ROWS_END, begin) + len(ROWS_END)
        text = data[begin:end] if found and data.startswith(ROWS_BEGIN, begin) and end > begin else b""
        if text not in self._outcomes:
            result = Result.model_validate_json(data)
            if text and result.scores:
                self._outcomes[text] = next(iter(result.scores.values())).outcomes
            return result
        result = Result.model_validate_json(data[:begin] + b"[]" + data[end:])
        arm, scores = next(iter(result.scores.items()))
        whole = scores.model_copy(update={"outcomes": self._outcomes[text]})
        return result.model_copy(update={"scores": {**result.scores, arm: whole}})


def _version(data: bytes) -> object:
    """What a document that is no result of this schema says of its version; this one's where it says nothing."""
    try:
        return json.loads(data)["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return SCHEMA_VERSION


def _other_config(held: Config, new: Config) -> str:
    before, after = held.model_dump(mode="json"), new.model_dump(mode="json")
    base = [key for key in after["base"] if before["base"].get(key) != after["base"][key]]
    differing = base + ([] if before["dimensions"] == after["dimensions"] else ["benchmarked"])
    return f"holds the results of another configuration (they differ in: {', '.join(differing)}); choose another --out"

"""What every stage of a run works with, and the one way in which what it makes is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from quantbench.schema.base import Record, digest
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import Environment
from quantbench.system import code
from quantbench.system.writing import write_atomically

T = TypeVar("T")
Inputs = Mapping[str, Any]
"""What a stage depends on, by name: plain data, records, or whatever has a ``fingerprint``."""


class Cache:
    """What stages made, found again by all that went into it.

    The key is a hash of the stage's name, its inputs, the versions of the libraries and the package's own code. Values
    live as long as the process, errors too: what failed once is not tried again for another run. JSON values and files
    are kept in the folder as well, for every later call and benchmark on this machine.

    Args:
        folder: where values are kept, in a folder by stage.
        versions: of the libraries that do the work.

    """

    def __init__(self, folder: Path, versions: Mapping[str, str]) -> None:
        self.folder = folder
        self._versions = dict(versions)
        self._memory: dict[str, Any] = {}

    def key(self, stage: str, inputs: Inputs) -> str:
        """The hash that the work of a stage on these inputs is kept by."""
        content = {name: _identity(value) for name, value in inputs.items()}
        return digest({"stage": stage, "inputs": content, "versions": self._versions, "code": code.fingerprint()})

    def path(self, stage: str, inputs: Inputs, name: str) -> Path:
        """Where a stage keeps the file ``name``; a folder of its own, which may not exist yet."""
        return self.folder / stage / self.key(stage, inputs) / name

    def once(self, stage: str, inputs: Inputs, make: Callable[[], T]) -> T:
        """What ``make`` gives, or the error that it raised, made once in this process."""
        key = f"{stage}/{self.key(stage, inputs)}"
        if key not in self._memory:
            try:
                self._memory[key] = make()
            except Exception as error:
                self._memory[key] = error
        found: Any = self._memory[key]
        if isinstance(found, Exception):
            raise found
        return cast("T", found)

    def stored(self, stage: str, inputs: Inputs, make: Callable[[], T]) -> T:
        """The JSON value that ``make`` gives, made once on this machine; a damaged file is made anew."""
        path = self.folder / stage / f"{self.key(stage, inputs)}.json"

        def load() -> T:
            with suppress(FileNotFoundError, ValueError):
                return cast(T, json.loads(path.read_bytes()))
            value = make()
            write_atomically(path, json.dumps(value).encode())
            return value

        return self.once(stage, inputs, load)


def _identity(value: Any) -> Any:
    """A value as JSON among the inputs of a stage."""
    if hasattr(value, "fingerprint"):
        return value.fingerprint
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    return value


@dataclass(frozen=True)
class Context:
    """What every stage works with beside its inputs.

    Attributes:
        cache: keeps what is made.
        environment: where the work is done.
        reporter: told of long work.
        places: where models and data lie that the settings name by another path; see ``results.Job``.

    """

    cache: Cache
    environment: Environment
    reporter: Reporter
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """Threads of work that is not timed, and of what is timed where none are set: one per physical core."""
        return self.environment.threads

    def place(self, name: str) -> str:
        """Where there lies what the settings call ``name``."""
        return self.places.get(name, name)


def context_in(
    folder: Path, environment: Environment, reporter: Reporter, places: Mapping[str, str] | None = None
) -> Context:
    """A context that keeps its work in a cache folder."""
    return Context(Cache(folder, environment.versions), environment, reporter, places or {})


class Watch:
    """Seconds by phase of a run's way through the stages.

    Attributes:
        seconds: spent so far, by phase.

    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

"""What a search has found so far: the records of ``tuning.json``, written after every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from quantbench.errors import BadInput, Mistake
from quantbench.schema.base import Record, digest
from quantbench.schema.settings import Settings
from quantbench.system.writing import write_atomically
from quantbench.tune.search import Limit, Verdict

FILE = "tuning.json"
SCHEMA_VERSION = 1
"""Version of ``tuning.json``."""


class UnitFigures(Record):
    """A unit: the products that read one tensor, how many multiplications per token, its harm by mode."""

    name: str
    sites: tuple[str, ...]
    products: int
    harm: dict[str, float]


class Tried(Record):
    """A version that was tried on tuning examples; losses are (estimate, low, high) of original minus optimized."""

    name: str
    family: str
    rung: int
    gentle: tuple[str, ...]
    settings: Settings
    seconds: float
    losses: dict[str, tuple[float, float, float]]
    excess: float
    examples: int
    verdict: Verdict


class Finalist(Record):
    """A version that is evaluated on the evaluation split."""

    name: str
    settings: Settings


class Tuned(Record):
    """The state of a search.

    Attributes:
        question: hash of what was asked.
        fastest: the finalist that is fastest of those within all limits on the evaluation split.
        best: the same, if it is known to be faster than the original: what to deploy.

    """

    schema_version: int = SCHEMA_VERSION
    question: str
    limits: tuple[Limit, ...]
    probes: dict[str, float] = Field(default_factory=dict)
    failures: dict[str, str] = Field(default_factory=dict)
    units: tuple[UnitFigures, ...] = ()
    tried: tuple[Tried, ...] = ()
    finalists: tuple[Finalist, ...] = ()
    fastest: str | None = None
    best: str | None = None
    front: tuple[str, ...] = ()
    stopped: str = ""
    tokens: float = 0.0
    seconds: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def start(cls, settings: Settings, limits: Sequence[Limit], only: str) -> Tuned:
        """Nothing found yet."""
        return cls(question=question(settings, limits, only), limits=tuple(limits))

    @classmethod
    def read(cls, folder: Path, settings: Settings, limits: Sequence[Limit], only: str) -> Tuned | None:
        """What an earlier call has found in a folder; None if there was none.

        Raises:
            BadInput: if it answered another question.

        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            found = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            message = "is damaged or was written by another version of quantbench; choose another --out, or delete it"
            raise BadInput([Mistake(str(path), message)]) from error
        if found.schema_version != SCHEMA_VERSION:
            message = f"has schema version {found.schema_version}, this quantbench reads {SCHEMA_VERSION}; "
            raise BadInput([Mistake(str(path), message + "choose another --out, or delete it")])
        if found.question != question(settings, limits, only):
            message = "holds the search of another configuration or other limits; choose another --out, or delete it"
            raise BadInput([Mistake(str(folder), message)])
        return found

    def write(self, folder: Path) -> None:
        """Keep the state."""
        write_atomically(folder / FILE, self.model_dump_json(indent=1).encode())


def question(settings: Settings, limits: Sequence[Limit], only: str) -> str:
    """Hash of a configuration, its limits and the families that may be chosen from."""
    asked = [limit.model_dump(mode="json") for limit in limits]
    return digest({"settings": settings.model_dump(mode="json"), "limits": asked, "only": only})

"""What a search has found so far: the records of ``tuning.json``, written after every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from quantbench.errors import BadInput, Mistake
from quantbench.plugins.former import spelled_out
from quantbench.schema.base import Record, digest
from quantbench.schema.settings import Settings
from quantbench.system.writing import write_atomically
from quantbench.tune.screening import Standing
from quantbench.tune.search import UNLIMITED, Footprint, Limit, Verdict

FILE = "tuning.json"
SCHEMA_VERSION = 2
"""Version of ``tuning.json``."""


class GroupSensitivity(Record):
    """A group of products that read one tensor.

    Attributes:
        name: of that tensor.
        products: names of their nodes.
        multiplications: of all of them, per token.
        sensitivity: expected divergence in nats per token, by mode.

    """

    name: str
    products: tuple[str, ...]
    multiplications: int
    sensitivity: dict[str, float]


class Tried(Record):
    """A version that was tried on tuning examples.

    Attributes:
        name: of the version.
        candidate: that it is a version of.
        step: of the candidate's schedule.
        fallback: groups in the candidate's fallback mode.
        settings: that make it.
        seconds: predicted for a call.
        losses: original minus optimized by metric, as (estimate, low, high).
        excess: the largest loss as a multiple of its limit.
        examples: how many were scored before the verdict.
        bytes: of its files; None in states of versions that did not ask.
        verdict: whether it keeps within the limits.
        pruned: shares of neurons and heads that the search took, by kind.

    """

    name: str
    candidate: str
    step: int
    fallback: tuple[str, ...]
    settings: Settings
    seconds: float
    losses: dict[str, tuple[float, float, float]]
    excess: float
    examples: int
    bytes: int | None = None
    verdict: Verdict
    pruned: dict[str, float] = Field(default_factory=dict)


class Finalist(Record):
    """A version that is evaluated on the evaluation split."""

    name: str
    settings: Settings


class Family(Record):
    """A candidate with all its versions, as far as the screening has looked.

    Attributes:
        candidate: its name.
        standing: whether it is in question on this machine.
        why: it is out or was not looked at; empty for the others.
        speed: times as fast as the fastest without int8, with everything in int8, as (estimate, low, high); None for
            that one itself, and where it was not timed.
        losses: of that version on the first tuning examples by metric, as those of :class:`Tried`; none where there was
            no time.
        examples: how many those are.

    """

    candidate: str
    standing: Standing
    why: str = ""
    speed: tuple[float, float, float] | None = None
    losses: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    examples: int = 0


class Screening(Record):
    """Which candidates are in question on this machine.

    Attributes:
        against: the fastest without int8.
        shapes: that were timed, by name; fewer than were asked for where calls are long.
        families: every candidate.
        seconds: from the float export to the answer.

    """

    against: str
    shapes: tuple[str, ...]
    families: tuple[Family, ...]
    seconds: float

    def named(self, standing: Standing) -> list[str]:
        """The candidates of a standing."""
        return [family.candidate for family in self.families if family.standing == standing]


class Tuned(Record):
    """The state of a search.

    Attributes:
        question: hash of what was asked.
        limits: on the loss.
        most: bytes that a version may take up.
        probes: seconds of a call of every candidate's first version, and of the float export.
        failures: candidates that could not be probed, and why.
        screening: which candidates are in question; None in states of versions that did not ask.
        thorough: whether those that are out are searched, too.
        groups: of the model's products, with their sensitivities.
        tried: versions that were tried on tuning examples, in this order.
        finalists: that are evaluated on the evaluation split.
        fastest: the finalist that is fastest of those within all limits on the evaluation split.
        best: the same, if it is known to be faster than the original: what to deploy.
        front: the finalists on the Pareto front of loss and time, by loss.
        stopped: why the search was cut short; empty where it was not.
        tokens: forwarded so far.
        seconds: spent, by phase.

    """

    schema_version: int = SCHEMA_VERSION
    question: str
    limits: tuple[Limit, ...]
    most: Footprint = UNLIMITED
    probes: dict[str, float] = Field(default_factory=dict)
    failures: dict[str, str] = Field(default_factory=dict)
    screening: Screening | None = None
    thorough: bool = False
    groups: tuple[GroupSensitivity, ...] = ()
    tried: tuple[Tried, ...] = ()
    finalists: tuple[Finalist, ...] = ()
    fastest: str | None = None
    best: str | None = None
    front: tuple[str, ...] = ()
    stopped: str = ""
    tokens: float = 0.0
    seconds: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def start(cls, settings: Settings, limits: Sequence[Limit], only: str, most: Footprint = UNLIMITED) -> Tuned:
        """The state before the first step."""
        return cls(question=question(settings, limits, only, most), limits=tuple(limits), most=most)

    @classmethod
    def read(
        cls, folder: Path, settings: Settings, limits: Sequence[Limit], only: str, most: Footprint = UNLIMITED
    ) -> Tuned | None:
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
        if found.question != question(settings, limits, only, most):
            message = "holds the search of another configuration or other limits; choose another --out, or delete it"
            raise BadInput([Mistake(str(folder), message)])
        return found

    def searched(self, candidate: str) -> bool:
        """Whether versions of a candidate are tried: those that are out only by a thorough search."""
        return self.thorough or self.screening is None or candidate not in self.screening.named("out")

    def made_thorough(self) -> Tuned:
        """The same before a search of all candidates: what an earlier one has decided is open again."""
        if self.thorough:
            return self
        decided = {"finalists": (), "fastest": None, "best": None, "front": (), "stopped": ""}
        return self.model_copy(update={**decided, "thorough": True})

    def write(self, folder: Path) -> None:
        """Write the state into the folder of the search, atomically."""
        write_atomically(folder / FILE, self.model_dump_json(indent=1).encode())


def question(settings: Settings, limits: Sequence[Limit], only: str, most: Footprint = UNLIMITED) -> str:
    """Hash of a configuration, its limits and the glob over candidates."""
    asked = [limit.model_dump(mode="json") for limit in limits]
    further = {"most": most.model_dump(mode="json")} if most != UNLIMITED else {}
    return digest({"settings": spelled_out(settings), "limits": asked, "only": only, **further})

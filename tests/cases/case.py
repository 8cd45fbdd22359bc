"""One input that somebody has, and the answer that is right by an independent reference.

A case is a function in a module of this folder. It writes a model and data below the folder that it is given, and
returns the settings to run with what must come of it::

    @case("multi-hot labels as whole numbers", reference="scikit-learn on the matrix")
    def multi_hot(folder: Path) -> Case:
        return Case({"task": …}, Right({"f1_micro": 1.0}, examples=8))

What is right is one of:

* :class:`Right`: metric values of an arm, and what the notes say;
* :class:`Refused`: exit code 2 before anything is written, at the line of a key, with certain words;
* :class:`Failed`: a row whose reason has certain words;
* or the function returns an :class:`Answer`, where another thing than a run is asked for: what it got and what is right.

Runs are executed in this process, by ``benchmark.run``, and without timing unless the settings have ``batch_sizes``.
The right values come from transformers, sentence-transformers, seqeval, scikit-learn or published rules, computed in
the case or planted in its data; never from quantbench.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULTS: Mapping[str, Any] = {"quantization_approach": "dynamic", "batch_sizes": []}


@dataclass(frozen=True)
class Right:
    """A finished run.

    Attributes:
        metrics: value by name.
        arm: whose metrics: ``original``, ``onnx-float`` or ``optimized``.
        examples: that were scored; any number where it is None.
        notes: words that the notes of the card must contain; with none of them, anything may stand there.
        quiet: there must be no note at all.
        tolerance: absolute, of every value.

    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    arm: str = "original"
    examples: int | None = None
    notes: Sequence[str] = ()
    quiet: bool = False
    tolerance: float = 1e-3

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items()) or "done"
        told = "; says " + ", ".join(f"“{note}”" for note in self.notes) if self.notes else ""
        over = f" over {self.examples}" if self.examples is not None else ""
        return f"{values}{over}{told}"


@dataclass(frozen=True)
class Refused:
    """Exit code 2: ``key`` is the dotted key at whose line the message stands, ``says`` are words of it."""

    key: str
    says: Sequence[str]

    def __str__(self) -> str:
        return f"refused at `{self.key}`: " + ", ".join(f"“{text}”" for text in self.says)


@dataclass(frozen=True)
class Failed:
    """A run that fails with a reason that has these words."""

    says: Sequence[str]

    def __str__(self) -> str:
        return "the run fails: " + ", ".join(f"“{text}”" for text in self.says)


@dataclass(frozen=True)
class Case:
    """Settings of a run (``DEFAULTS`` added) and what must come of it."""

    settings: Mapping[str, Any]
    right: Right | Refused | Failed


@dataclass(frozen=True)
class Answer:
    """What was got and what is right, as values that pytest compares.

    Attributes:
        got: by quantbench.
        right: by the reference.
        told: what was compared and came out, in words.
        tolerance: of numbers, relative and absolute.

    """

    got: Any
    right: Any
    told: str
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Registered:
    """A case by its name, with the reference of its right value."""

    name: str
    reference: str
    make: Callable[[Path], Case | Answer]
    module: str


CASES: dict[str, Registered] = {}


def case(name: str, reference: str) -> Callable[[Callable[[Path], Case | Answer]], Callable[[Path], Case | Answer]]:
    """Register a function as a case; ``reference`` says where the right value comes from."""

    def register(make: Callable[[Path], Case | Answer]) -> Callable[[Path], Case | Answer]:
        assert name not in CASES, f"two cases are called {name!r}"
        CASES[name] = Registered(name, reference, make, make.__module__.rpartition(".")[2])
        return make

    return register

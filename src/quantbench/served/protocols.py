"""What the files for deployed models provide: a task's, a processor's and a runtime's.

A plug-in names its own as ``SERVED``. Such a file imports the standard library, NumPy, the libraries that it names and
files beside it by relative import, which are copied with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class ServedProcessor(Protocol):
    """A processor's file for deployed models.

    ``load`` gives an object with ``collate``, and ``problem(value)`` for what is wrong with a field of an example.
    """

    def load(self, folder: Path, known: Mapping[str, Any]) -> Any:
        """The processor of a deployed folder; ``known`` is what ``Processor.known`` gave."""
        ...


class ServedTask(Protocol):
    """A task's file for deployed models.

    ``args`` are those of ``Task.serving`` everywhere. ``USAGE`` says what one example is on the command line,
    ``OPTIONAL`` which fields a row may have besides.
    """

    USAGE: str
    OPTIONAL: tuple[str, ...]

    def fields(self, args: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the fields that every row has, which are data keys."""
        ...

    def encode(self, rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Any:
        """Rows as inputs: an object with ``inputs``, the ``costs`` of each, and what :meth:`decode` needs.

        Raises:
            ValueError: if a row cannot be one, in words that name it.

        """
        ...

    def decode(self, outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
        """The prediction for input ``index``, from row ``row`` of a batch's outputs."""
        ...

    def certainty(self, outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
        """How sure the model is, where an answer says that and a prediction does not."""
        ...

    def answers(
        self,
        encoded: Any,
        predictions: Sequence[Sequence[float]],
        shares: Sequence[Sequence[float]],
        args: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """The answer to each row, as JSON has it, from predictions and certainties of all inputs in their order."""
        ...

    def show(self, answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
        """An answer as a reader is shown it."""
        ...


class ServedRuntime(Protocol):
    """A runtime's file for deployed models.

    ``LIBRARIES`` must be installed where a model is deployed, by the names that pip knows.
    """

    LIBRARIES: tuple[str, ...]

    def load(self, path: str, options: Mapping[str, Any], num_threads: int) -> Any:
        """The model in a file, or in a folder for runtimes that read folders, with the options of its arm."""
        ...

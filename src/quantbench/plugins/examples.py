"""What passes between tasks, their processors and whoever runs a model: examples, inputs and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from quantbench.served.protocols import ServedProcessor

if TYPE_CHECKING:
    import numpy as np

Inputs = Mapping[str, "np.ndarray[Any, Any]"]
"""A batch by input name, as arrays of shape (batch, …)."""
Input = Mapping[str, Any]
"""One input of a model by input name: token values, or arrays of one shape for all."""
Prediction = tuple[float, ...]
"""What a model says of one input, as the task's ``decode`` reads it."""


class Examples(Protocol):
    """Examples of a task, prepared once and shared by every arm that is evaluated on them.

    An example may have several inputs, such as the windows of a long text. ``costs`` are the tokens (patches) of each
    input, ``notes`` what a reader of the scores must know.
    """

    inputs: Sequence[Input]
    costs: Sequence[int]
    fingerprint: str
    notes: tuple[str, ...]


@runtime_checkable
class ManyInputs(Protocol):
    """Examples of which one may have hundreds of inputs, such as a query with its passages.

    ``samples`` are the numbers of a few inputs per example, which stand for all of them where ranges are collected and
    sensitivities measured; of other examples all inputs do.
    """

    samples: Sequence[int]


def sampled(examples: Examples) -> list[int]:
    """The numbers of the inputs that stand for examples, see :class:`ManyInputs`."""
    return list(examples.samples) if isinstance(examples, ManyInputs) else list(range(len(examples.inputs)))


class Positions(NamedTuple):
    """What is known of the positions of one input: how many are real, their tokens, and which of these are special."""

    length: int
    tokens: tuple[str, ...]
    special: Sequence[bool]


class Processor(Protocol):
    """What turns examples into a model's inputs: a tokenizer or an image processor, which is ``raw``.

    ``SERVED`` is its file for deployed models, ``HAS_LENGTH`` says that inputs differ in length.
    """

    SERVED: ServedProcessor
    HAS_LENGTH: bool
    raw: Any

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        """Load it from a model's folder."""
        ...

    def collate(self, inputs: Sequence[Input], width: int | None = None) -> dict[str, Any]:
        """Inputs as arrays of one batch, padded to ``width`` or to the longest."""
        ...

    def exact_inputs(self, batch_size: int, length: int, seed: int) -> dict[str, Any]:
        """Drawn inputs of an exact shape, without padding."""
        ...

    def known(self) -> dict[str, Any]:
        """All that must be known besides its own files to make the same inputs again: ``SERVED.load`` takes it."""
        ...

    def max_length(self, model_config: Mapping[str, Any]) -> int | None:
        """Longest input that model and processor take; None where there is no limit."""
        ...

    def positions(self, inputs: Inputs) -> Positions:
        """What is known of the positions of a batch of one input."""
        ...

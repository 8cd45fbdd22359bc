"""What a file of any origin takes and gives, and how a task's inputs and outputs are found in it."""

from __future__ import annotations

from pydantic import JsonValue

from quantbench.schema.base import Record

KEY = "wiring"
"""Option of an arm whose file is wired."""


class Tensor(Record):
    """An input or output as a file declares it.

    Attributes:
        name: in the file.
        type: as NumPy calls it, such as ``int64``; the runtime's own word where NumPy has no such type.
        shape: sizes, None where one is free; None where even their number is not said.

    """

    name: str
    type: str
    shape: tuple[int | None, ...] | None = None


class Signature(Record):
    """All inputs and outputs of a file, in its order."""

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()


class WiredInput(Record):
    """What one input of a file is fed with.

    Attributes:
        name: in the file.
        source: the task's input; one that the task does not have is made from the others.
        type: that the numbers are cast to.
        fill: what stands behind the end where the file's length is fixed.

    """

    name: str
    source: str
    type: str
    fill: int = 0


class Wiring(Record):
    """How a task's inputs become a file's, and which of its outputs are the task's.

    Attributes:
        inputs: of the file.
        outputs: places of the task's outputs among the file's.
        long: whether the second axis of each of these is the tokens.
        batch: rows that the file takes at once; None for any number.
        length: tokens that every row has; None for any number.
        left: whether padding stands before a text's tokens.
        first_position: of a model's first token where positions are counted from behind the padding's, as RoBERTa
            does; 0 where they are plain.

    """

    inputs: tuple[WiredInput, ...]
    outputs: tuple[int, ...] = ()
    long: tuple[bool, ...] = ()
    batch: int | None = None
    length: int | None = None
    left: bool = False
    first_position: int = 0

    def option(self) -> dict[str, JsonValue]:
        """What it is among the options of an arm."""
        return {KEY: self.model_dump(mode="json")}

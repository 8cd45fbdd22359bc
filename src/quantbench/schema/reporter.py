"""What long work tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many steps of a piece of work were done since the last call."""


class Steps(Protocol):
    """The end of a piece of work that tells of itself."""

    def __call__(self, steps: int, /) -> None:
        """So many steps were done since the last call."""
        ...

    def tell(self, text: str) -> None:
        """What is known so far, shown beside the description."""
        ...


class Reporter(Protocol):
    """What long work tells of itself."""

    def stage(self, description: str, total: int) -> AbstractContextManager[Steps]:
        """Announce work of ``total`` steps; the context's value is told the steps as they are done."""
        ...

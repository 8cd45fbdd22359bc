"""What long work tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many steps of a piece of work were done since the last call."""


class Reporter(Protocol):
    """What long work tells of itself."""

    def stage(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Announce work of ``total`` steps; the context's value is told the steps as they are done."""
        ...

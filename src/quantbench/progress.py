"""Telling people what is going on: one line per piece of work, with a bar and the time left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from quantbench.registry import Advance

logger = logging.getLogger("quantbench")


class Reporter(Protocol):
    """What long work tells of itself."""

    def stage(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Announce work of ``total`` steps; the context's value is told the steps as they are done."""
        ...


class Bars:
    """Bars on a terminal; elsewhere one line when a piece of work begins."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, description: str, total: int) -> Iterator[Advance]:
        """See :class:`Reporter`."""
        if not self._console.is_terminal:
            self._console.print(description, highlight=False, soft_wrap=True)
            yield _ignore
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as bars:
            task = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(task, steps)


def _ignore(_steps: int) -> None:
    """Steps that nobody is shown."""


class Silent:
    """Says nothing (``-q``)."""

    @contextmanager
    def stage(self, description: str, total: int) -> Iterator[Advance]:
        """See :class:`Reporter`."""
        logger.info("%s (%d steps)", description, total)
        yield _ignore

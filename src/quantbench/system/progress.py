"""Telling people what is going on: one line per piece of work, with a bar and the time left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from quantbench.schema.reporter import Steps

logger = logging.getLogger("quantbench")

BAR = 20
"""Characters of a bar."""
NARROW = 100
"""Characters of a terminal below which a long description is cut, and not what is left to do."""


class Bars:
    """Bars on a terminal; elsewhere one line when a piece of work begins.

    Work within other work adds its bar to the display that is there: rich before 14.1 refuses a second one.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: Progress | None = None

    @contextmanager
    def stage(self, description: str, total: int) -> Iterator[Steps]:
        """See :class:`quantbench.schema.reporter.Reporter`."""
        if not self._console.is_terminal:
            self._console.print(description, highlight=False, soft_wrap=True)
            yield _Nobody()
            return
        with self._display() as bars:
            task = bars.add_task(description, total=total)
            try:
                yield _Bar(bars, task, description)
            finally:
                if len(bars.tasks) > 1:  # the outermost stays on the screen
                    bars.remove_task(task)

    @contextmanager
    def _display(self) -> Iterator[Progress]:
        """The one display, begun and ended by the outermost piece of work."""
        if self._shown is not None:
            yield self._shown
            return
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            BarColumn(bar_width=BAR),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, expand=self._console.width < NARROW) as bars:
            self._shown = bars
            try:
                yield bars
            finally:
                self._shown = None


class _Bar:
    """Steps of one bar."""

    def __init__(self, bars: Progress, task: TaskID, description: str) -> None:
        self._bars, self._task, self._description = bars, task, description

    def __call__(self, steps: int, /) -> None:
        self._bars.advance(self._task, steps)

    def tell(self, text: str) -> None:
        self._bars.update(self._task, description=f"{self._description} ({text})")


class _Nobody:
    """Steps that nobody is shown."""

    def __call__(self, steps: int, /) -> None:
        pass

    def tell(self, text: str) -> None:
        pass


class Silent:
    """Says nothing (``-q``)."""

    @contextmanager
    def stage(self, description: str, total: int) -> Iterator[Steps]:
        """See :class:`quantbench.schema.reporter.Reporter`."""
        logger.info("%s (%d steps)", description, total)
        yield _Nobody()

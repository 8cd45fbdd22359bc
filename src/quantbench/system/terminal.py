"""Text for a terminal: how wide it may be, and tables whose words are never cut."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 140
"""Characters of a line where output goes to no terminal and ``COLUMNS`` does not say."""
BRIEF = 480
"""Characters of a library's own text that are shown; the card holds all of it."""


def width() -> int:
    """Characters of a line: those of the terminal, or as ``COLUMNS`` says, or ``WIDTH``."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def brief(text: str) -> str:
    """A text on one line, cut between words where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= BRIEF else f"{line[:BRIEF].rpartition(' ')[0]} …"


def fits(header: Sequence[str], rows: Sequence[Sequence[str]], limit: int) -> bool:
    """Whether a table with borders is no wider than a limit, headers broken between words."""
    return sum(_needed(header, rows)) + 3 * len(header) + 1 <= limit


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], limit: int) -> str:
    """A table no wider than a limit, cells broken between words; without borders where it would be wider with them."""
    bordered = fits(header, rows, limit)
    gaps = 3 * len(header) + 1 if bordered else len(header) - 1
    drawn = Table(
        title=title,
        title_justify="left",
        box=box.HEAVY_HEAD if bordered else box.SIMPLE_HEAD,
        padding=(0, 1) if bordered else 0,
        pad_edge=bordered,
        show_edge=bordered,
    )
    for index, (name, size) in enumerate(zip(header, _widths(header, rows, limit - gaps), strict=True)):
        drawn.add_column(name, justify="right" if index else "left", width=size)
    for row in rows:
        drawn.add_row(*row)
    return printed(drawn, max(limit, sum(_least(header, rows)) + gaps))


def printed(what: object, limit: int) -> str:
    """What rich makes of something, as plain text of this width, without blanks at the ends of lines."""
    console = Console(  # in a notebook, too, where rich would show it instead, in colours
        file=StringIO(),
        width=limit,
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None,
        force_jupyter=False,
    )
    console.print(what)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]], limit: int) -> list[int]:
    """Of every column: as needed, and narrower where that is too much, those first that have most to give."""
    least, found = _least(header, rows), _needed(header, rows)
    while sum(found) > limit:
        spare = [size - narrowest for size, narrowest in zip(found, least, strict=True)]
        if not any(spare):
            break
        found[spare.index(max(spare))] -= 1
    return found


def _needed(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Characters of every column whose header alone may be broken."""
    least = _least(header, rows)
    return [max([least[index], *(len(row[index]) for row in rows)]) for index in range(len(header))]


def _least(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The longest word of every column."""
    columns = ([row[index] for row in (header, *rows)] for index in range(len(header)))
    return [max((len(word) for cell in column for word in cell.split()), default=1) for column in columns]

"""Markdown tables as on the reference card: centred, padded columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantbench.analysis.intervals import Interval

BAR = "\\|"
"""A cell that shows a vertical bar, as the reference card puts between groups of columns."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with centred, padded columns, as on the reference card; nothing where there are no rows."""
    if not rows:
        return ""
    widths = [max(3, *(_width(row[i]) for row in (header, *rows))) for i in range(len(header))]
    lines = [" | ".join(map(_centred, row, widths)) for row in (header, *rows)]
    lines.insert(1, " | ".join(":" + "-" * (width - 2) + ":" for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def _width(cell: str) -> int:
    """Characters of a cell as it is rendered: an escaped bar is one."""
    return len(cell.replace(BAR, "|"))


def _centred(cell: str, width: int) -> str:
    left = (width - _width(cell)) // 2
    return " " * left + cell + " " * (width - _width(cell) - left)


def counts(values: Mapping[str, int]) -> str:
    """Numbers by name in one cell."""
    return ", ".join(f"{name} {count}" for name, count in values.items()) or "none"


def spread(interval: Interval, digits: int, sign: str = "") -> str:
    """An estimate with its interval in one cell."""
    form = f"{sign}.{digits}f"
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"

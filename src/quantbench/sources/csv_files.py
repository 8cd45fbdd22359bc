"""Tables in text: CSV and tab-separated files, every cell as it stands there, and only the empty cell is missing.

The words NA, null, None and nan are texts. What a column holds follows from all of its cells: whole numbers (without
leading zeros), numbers, true and false, otherwise texts; columns that must be texts always are. Missing cells change
none of that. Empty lines are no rows.

Cells of a CSV are apart by commas, or by semicolons or tabs where its header has these and no comma. Quotes enclose
cells as in RFC 4180. In tab-separated files they do so only if no line could be read otherwise, or if every cell that
begins with a quote is enclosed in quotes; many such files are written without any, and there a quote is a character.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.sources.cells import some
from quantbench.sources.hub import mistake
from quantbench.sources.text_files import read_text, suffix_of

BLOCK = 1 << 24
"""Bytes read at once; a row must fit."""
TABS = (".tsv", ".tab")
"""Endings of tab-separated files."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What stands between the cells of a table; of a CSV the first that its header has."""
ENCLOSED = re.compile(r'"([^"]|"")*"')
KINDS = (
    (r"^-?(0|[1-9][0-9]{0,17})$", "int64"),
    (r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$", "float64"),
    (r"^(true|false|True|False|TRUE|FALSE)$", "bool_"),
)
"""What all cells of a column must look like to be of a type; a column with leading zeros holds texts."""
LEADING_ZERO = r"^[-+]?0[0-9]"


@dataclass(frozen=True)
class Layout:
    """How a file separates its cells, whether quotes enclose them, and the names of its columns."""

    separator: str
    quoted: bool
    names: tuple[str, ...]


def read_csv(paths: Sequence[Path], texts: Collection[str]) -> Any:
    """Files of equal columns as one ``datasets.Dataset``.

    Raises:
        BadInput: if a file is no table, is not UTF-8 or UTF-16, or its columns differ from those of the first.

    """
    import datasets
    import pyarrow

    tables = [_read(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        differ = set(table.column_names) ^ set(tables[0].column_names)
        if differ:
            message = f"{path} has other columns than {paths[0]} of the same split: {some(sorted(differ))}"
            raise mistake("dataset.path", f"{message}; give files of equal columns")
    whole = pyarrow.concat_tables([table.select(tables[0].column_names) for table in tables])
    columns = {name: _typed(whole[name], name in texts) for name in whole.column_names}
    return datasets.Dataset(pyarrow.table(columns))


def _read(path: Path) -> Any:
    """A file as a table of texts."""
    import pyarrow
    import pyarrow.csv

    text = read_text(path)
    layout = layout_of(text, suffix_of(path) in TABS)
    names = layout.names
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise mistake("dataset.path", f"{path} has two columns {double!r}; rename one")
    try:
        return pyarrow.csv.read_csv(
            pyarrow.BufferReader(text.encode()),
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.separator,
                quote_char='"' if layout.quoted else False,
                newlines_in_values=layout.quoted,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()),
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=True,
            ),
        )
    except pyarrow.ArrowInvalid as error:
        raise mistake("dataset.path", f"{path} is no table: {_uneven(text, layout) or error}") from error


def layout_of(text: str, tabs: bool) -> Layout:
    """How a table is written.

    Args:
        text: all of it.
        tabs: whether its name says that tabs separate its cells.

    """
    separator = "\t" if tabs else _separator(text)
    if tabs and not _encloses(text):
        return Layout(separator, False, tuple(next(_lines(text), "").split(separator)))
    return Layout(separator, True, tuple(_first(text, separator)))


def _first(text: str, separator: str) -> list[str]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return next((row for row in rows if row), [])


def _separator(text: str) -> str:
    """The comma, or what a header without one has in its place."""
    return next((mark for mark in SEPARATORS if len(_first(text, mark)) > 1), ",")


def _encloses(text: str) -> bool:
    """Whether quotes enclose cells of a tab-separated file rather than being characters of it."""
    widths, begun, enclosed = set(), False, True
    for line in _lines(text):
        cells = line.split("\t")
        widths.add(len(cells))
        for cell in cells:
            if cell.startswith('"'):
                begun, enclosed = True, enclosed and ENCLOSED.fullmatch(cell) is not None
    return begun and (enclosed or len(widths) > 1)


def _lines(text: str) -> Iterator[str]:
    """The lines that are not empty, without their ends."""
    ended = (line.rstrip("\r\n") for line in io.StringIO(text, newline=""))
    return (line for line in ended if line)


def _uneven(text: str, layout: Layout) -> str | None:
    """The first row that has not as many cells as the header, by its line, and what to do."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=layout.separator,
        quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
    )
    width = len(layout.names)
    for row in reader:
        if row and len(row) != width:
            hint = f"put texts with {SEPARATORS[layout.separator]} in quotes"
            return f"the row that ends in line {reader.line_num} has {len(row)} cells, the header {width}; {hint}"
    return None


def _typed(column: Any, text: bool) -> Any:
    """A column of texts as what all of its cells are."""
    import pyarrow
    from pyarrow import compute

    there = column.drop_null()
    if text or not len(there):
        return column
    zeros = compute.any(compute.match_substring_regex(there, LEADING_ZERO)).as_py()
    for pattern, kind in KINDS:
        if compute.all(compute.match_substring_regex(there, pattern)).as_py():
            return column if zeros else compute.cast(column, getattr(pyarrow, kind)())
    return column

"""CSV files as tables: every cell as it stands there, and only the empty cell is missing.

The words NA, null, None and nan are texts. What a column holds follows from all of its cells: whole numbers (without
leading zeros), numbers, true and false, otherwise texts; columns that must be texts always are. Missing cells change
none of that.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from quantbench.sources.cells import some
from quantbench.sources.hub import mistake

BLOCK = 1 << 24
"""Bytes read at once; a row must fit."""
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encodings by the first bytes of a file."""
KINDS = (
    (r"^-?(0|[1-9][0-9]{0,17})$", "int64"),
    (r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$", "float64"),
    (r"^(true|false|True|False|TRUE|FALSE)$", "bool_"),
)
"""What all cells of a column must look like to be of a type; a column with leading zeros holds texts."""
LEADING_ZERO = r"^[-+]?0[0-9]"


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

    text, names = _text(path)
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise mistake("dataset.path", f"{path} has two columns {double!r}; rename one")
    try:
        return pyarrow.csv.read_csv(
            pyarrow.BufferReader(text),
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()),
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=True,
            ),
        )
    except pyarrow.ArrowInvalid as error:
        raise mistake("dataset.path", f"{path} is no table: {_uneven(text, len(names)) or error}") from error


def _uneven(text: bytes, width: int) -> str | None:
    """The first row that has not as many cells as the header, by its line, and what to do."""
    reader = csv.reader(io.StringIO(text.decode(), newline=""))
    for row in reader:
        if row and len(row) != width:
            hint = "put texts with commas in quotes"
            return f"the row that ends in line {reader.line_num} has {len(row)} cells, the header {width}; {hint}"
    return None


def _text(path: Path) -> tuple[bytes, list[str]]:
    """A file's content as UTF-8 without a mark, and the names of its columns."""
    data = path.read_bytes()
    if path.suffix.lower() == ".gz":
        data = gzip.decompress(data)
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        how = f"convert it, e.g. iconv -f latin1 -t utf-8 {path.name}"
        message = f"{path} is not UTF-8 (byte 0x{data[error.start]:02x} in line {line})"
        raise mistake("dataset.path", f"{message}; {how}") from None
    rows = csv.reader(io.StringIO(text, newline=""))
    return text.encode(), next((row for row in rows if row), [])


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

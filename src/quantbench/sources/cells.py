"""Cells of a data set: what is missing in them, and how a message names them.

A cell is missing where it holds None or no number (NaN); an empty cell of a CSV file is read as None. The empty text ""
of Parquet and JSON files is a text. Rows are counted from 1 in messages, without the header of a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NAMED = 8
"""Names that a message lists; of more, it says how many."""
READ = "quantbench: reference"
"""Column that is added to the rows that count: each one's reference, read once over the whole split."""
NO_LABELS = (
    "there are no labels: the original's own predictions are the reference, so that scores say how far a version "
    "agrees with it, not how often either is right"
)
"""The note on scores without references."""
ROW = "quantbench: row"
"""Column that is added to the rows that count: their numbers, from 1."""

CORPUS = "corpus"
"""Data key of what no row is about: texts that all rows of a split are looked for in, a part of them in each row."""


class Unusable(ValueError):
    """A mistake in the cells of a split, with the dotted key of the parameter that is to blame."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def some(names: Iterable[Any]) -> str:
    """Names in a message, of which there may be thousands."""
    found = [str(name) for name in names]
    rest = len(found) - NAMED
    return ", ".join(found[:NAMED]) + (f" … and {rest} more" if rest > 0 else "")


def more(count: int) -> str:
    """What follows the first row that is named, where ``count`` rows are meant."""
    return f" (and in {count - 1} more row{'s' * (count > 2)})" if count > 1 else ""


def item(feature: Any) -> Any | None:
    """The feature of a list's items, None for what is no list."""
    inner = getattr(feature, "feature", None)
    return feature[0] if isinstance(feature, list) and feature else inner


def field(cell: Any, path: Sequence[str]) -> Any:
    """What stands in a record, or in a record in it; None where one of both is missing."""
    for name in path:
        cell = None if cell is None else cell.get(name)
    return cell


def number(value: Any) -> float | None:
    """The number of a cell, which may be written as a text; None where the cell is missing.

    Raises:
        ValueError: if it holds something else.

    """
    if missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool):
        raise ValueError("it is no number")
    found = float(value)
    return None if math.isnan(found) else found


def check_texts(dataset: Any, keys: Mapping[str, str], kept: Sequence[int]) -> None:
    """Check that every row that counts has its texts: those of text columns, and the words of columns of lists.

    Args:
        dataset: a ``datasets.Dataset``.
        keys: columns by data key.
        kept: rows that count, from 0.

    Raises:
        Unusable: with row and column of the first that is missing, and how many there are.

    """
    for column in keys.values():
        feature = dataset.features[column]
        words = item(feature) is not None
        if not words and getattr(feature, "dtype", None) not in ("string", "null"):
            continue
        values = list(dataset[column])
        wrong = [index for index in kept if _without(values[index], words)]
        if not wrong:
            continue
        first, value = wrong[0] + 1, values[wrong[0]]
        if not words or missing(value):
            what = f"row {first} has no {'words' if words else 'text'}"
        else:
            what = f"row {first}, word {[missing(word) for word in value].index(True) + 1} is missing"
        ending = "write it, or take the row out"
        raise Unusable("dataset.data_keys", f"{what} in column {column!r}{more(len(wrong))}; {ending}")


def _without(value: Any, words: bool) -> bool:
    return missing(value) or (words and any(missing(word) for word in value))


class Within:
    """Some rows of a split, which are used as a ``datasets.Dataset`` is, with the ``whole`` split that they are of."""

    def __init__(self, rows: Any, whole: Any) -> None:
        self._rows, self.whole = rows, whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def __getitem__(self, key: Any) -> Any:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)


def whole(dataset: Any) -> Any:
    """The split that rows are of where they say so, else these rows alone."""
    return dataset.whole if isinstance(dataset, Within) else dataset


def references(dataset: Any) -> list[Any]:
    """The reference of each of the rows that count; an empty list where they have no labels."""
    return list(dataset[READ]) if READ in dataset.column_names else []


def without_label(numbers: Sequence[int]) -> str:
    """The note on rows that were left out, by their numbers, which begin with 1."""
    if len(numbers) == 1:
        return f"1 row without a label was left out: row {numbers[0]}"
    return f"{len(numbers)} rows without a label were left out, the first is row {numbers[0]}"

"""What the columns of a data set hold, told by their types and some of their rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quantbench.sources.cells import field, item, missing

Kind = Literal[
    "text", "label", "integer", "truth", "number", "texts", "integers", "numbers", "image", "answers", "none"
]
WORDS: Mapping[Kind, str] = {
    "text": "texts",
    "label": "labels",
    "integer": "whole numbers",
    "truth": "true and false",
    "number": "numbers",
    "texts": "lists of texts",
    "integers": "lists of labels or whole numbers",
    "numbers": "lists of numbers",
    "image": "images",
    "answers": "answers",
    "none": "something else",
}
"""What a message calls what a column holds."""
LISTS: Mapping[Kind, Kind] = {
    "text": "texts",
    "label": "integers",
    "integer": "integers",
    "truth": "integers",
    "number": "numbers",
    "answers": "answers",
}
"""What a list is by what it holds."""
TYPES: Mapping[str, Kind] = {
    "string": "text",
    "large_string": "text",
    "bool": "truth",
    "int": "integer",
    "uint": "integer",
    "float": "number",
    "binary": "image",
    "large_binary": "image",
}
"""What a cell is by how the name of its type begins."""
UNREAD: tuple[Kind, ...] = ("image", "none")
"""Kinds of which no cell is looked at."""
SAMPLED = 1000
"""Rows that are looked at."""
ASIDE = re.compile(r"(.*[_ ])?(id|idx|index|guid|uid|uuid|url|split|lang|language|source|date|timestamp)|unnamed.*|_*")
"""Names of columns that are neither read nor predicted."""
NO_LABEL = ("", "-1", "-100")


@dataclass(frozen=True)
class Column:
    """A column of a data set.

    Attributes:
        name: of the column.
        kind: of a cell.
        names: that the data set declares for the numbers of its labels.
        values: different ones in the rows that were looked at, as texts and in order; those inside of lists.
        empty: whether some but not all of these rows hold an empty list, or answers without a text.

    """

    name: str
    kind: Kind
    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    empty: bool = False

    @property
    def aside(self) -> bool:
        """Whether its name says that it only numbers or describes rows."""
        return ASIDE.fullmatch(self.plain) is not None

    @property
    def plain(self) -> str:
        """Its name in lower case, without blanks around it and without that of the record that it is a field of."""
        return self.name.strip().lower().rpartition(".")[2] or self.name

    def fits(self, labels: Collection[str]) -> bool:
        """Whether all of its labels are among the model's."""
        found = {name for name in self.names or self.values if self.names or name not in NO_LABEL}
        known = {"true", "false"} & {label.lower() for label in labels} if self.kind == "truth" else set(labels)
        return bool(found) and found <= known

    def __str__(self) -> str:
        return f"{self.name} ({WORDS[self.kind]})"


def kind_of(feature: Any) -> Kind:
    """What a cell of a feature of ``datasets`` holds."""
    if type(feature).__name__ == "Image":
        return "image"
    if isinstance(feature, Mapping):
        answers = "text" in feature and ("answer_start" in feature or item(feature["text"]) is not None)
        return "image" if set(feature) == {"bytes", "path"} else "answers" if answers else "none"
    inner = item(feature)
    if inner is not None:
        if isinstance(inner, Mapping) and "text" in inner:
            return "answers"
        return LISTS.get(kind_of(inner), "none")
    if getattr(feature, "names", None):
        return "label"
    dtype = str(getattr(feature, "dtype", ""))
    return next((kind for start, kind in TYPES.items() if dtype.startswith(start)), "none")


def _is_record(feature: Any) -> bool:
    return isinstance(feature, Mapping) and kind_of(feature) == "none"


def columns_of(data: Any) -> list[Column]:
    """The columns of a ``datasets.Dataset``, by its features and at most ``SAMPLED`` rows from all over it."""
    read = [name for name, feature in data.features.items() if _is_record(feature) or kind_of(feature) not in UNREAD]
    cells = sample(data, SAMPLED).select_columns(read)[:] if read else {}
    return [
        column for name, feature in data.features.items() for column in _columns(name, feature, cells.get(name, ()))
    ]


def comes_again(data: Any, name: str) -> bool:
    """Whether a cell of a column of texts stands in several rows of a ``datasets.Dataset``."""
    return name in data.column_names and len(data.unique(name)) < len(data)


def sample(data: Any, most: int) -> Any:
    """At most so many rows, spread evenly over all."""
    count = len(data)
    return data if count <= most else data.select([count * place // most for place in range(most)])


def _columns(name: str, feature: Any, cells: Sequence[Any]) -> Iterator[Column]:
    """A column; of records each of their fields, under a dotted name."""
    if not _is_record(feature):
        yield _column(name, feature, cells)
        return
    for part, inner in feature.items():
        yield from _columns(f"{name}.{part}", inner, [field(cell, [part]) for cell in cells])


def _column(name: str, feature: Any, every: Sequence[Any]) -> Column:
    kind = kind_of(feature)
    if kind in UNREAD:
        return Column(name, kind)
    cells = [cell for cell in every if not missing(cell)]
    if kind == "answers":
        texts = [cell["text"] if isinstance(cell, Mapping) else cell for cell in cells]
        return Column(name, kind, empty=_some_empty(texts))
    declared = tuple(getattr(item(feature) or feature, "names", None) or ())
    if kind in ("texts", "integers", "numbers"):
        return Column(name, kind, declared, _different(part for cell in cells for part in cell), _some_empty(cells))
    return Column(name, kind, declared, _different(cells))


def _some_empty(lists: Sequence[Any]) -> bool:
    empty = [not len(found) for found in lists]
    return any(empty) and not all(empty)


def _different(values: Iterable[Any]) -> tuple[str, ...]:
    """Values as the names of labels that they may be."""
    found = dict.fromkeys(value for value in values if not missing(value))
    return tuple(dict.fromkeys(map(_named, found)))


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

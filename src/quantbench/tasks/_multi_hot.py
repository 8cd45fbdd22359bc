"""Any number of labels per example: a list of labels, 0 or 1 for every label, or a column of 0 and 1 for every label.

Lists of names are sets of labels, and so are lists of a ``ClassLabel``. Lists of floats or booleans hold 0 or 1 for
every label, in the order of ``dataset.label_names`` or else of the model's. Lists of whole numbers are such rows too if
every row is as long as there are labels and holds 0 and 1 only (for two labels: unless all rows read [0, 1], which can
be either); otherwise they are numbers of labels. A row of zeros has no label of those that there are, which is a
reference as any other; a row without a list, or of -1 throughout, has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantbench.schema.settings import Sources
from quantbench.sources.cells import Unusable, item, missing, some
from quantbench.sources.labels import TEXTS, UNLABELLED, mismatch, namer, unmatched, whole

Row = tuple[int, ...]
BITS = (0, 1)


def check_columns(sources: Sources, features: Any, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in several columns of which each stands for a label, as (dotted key, message)."""
    names, mapping = sources.dataset.ref_keys, sources.dataset.label_map
    for column in names:
        if not str(getattr(features[column], "dtype", "")).startswith(("int", "uint", "float", "bool", "null")):
            return [("dataset.ref_keys", f"column {column!r} must hold 0 or 1 per example, it is {features[column]}")]
    if not labels:
        return []
    problem = mismatch(names, labels, mapping)
    if problem:
        return [("dataset.label_map", problem.replace("the data set's labels", "the columns"))]
    absent = [label for label in labels if label not in {mapping.get(name, name) for name in names}]
    if absent:
        return [("dataset.ref_keys", f"no column of ref_keys stands for the model's {some(absent)}; name it too")]
    return unmatched(names, labels, mapping)


def rows(sources: Sources, dataset: Any, labels: Sequence[str]) -> list[Row | None]:
    """0 or 1 for every label of the model, of each example; None where it has no reference.

    Raises:
        Unusable: if a row can be neither, or a label has no name or one that the model does not have.

    """
    columns = sources.dataset.ref_keys
    if len(columns) > 1:
        cells = zip(*(dataset[column] for column in columns), strict=True)
        return _bits([list(row) for row in cells], columns, labels, sources.dataset.label_map)
    feature = item(dataset.features[columns[0]])
    lists = [None if missing(row) else list(row) for row in dataset[columns[0]]]
    kind = str(getattr(feature, "dtype", ""))
    if getattr(feature, "names", None) or kind in TEXTS or not _are_bits(lists, kind, sources, labels):
        return _numbers(lists, sources, feature, labels)
    names = sources.dataset.label_names or tuple(labels)
    problem = mismatch(names, labels, sources.dataset.label_map)
    if problem:
        raise Unusable("dataset.label_map", problem)
    return _bits(lists, names, labels, sources.dataset.label_map)


def _are_bits(lists: Sequence[list[Any] | None], kind: str, sources: Sources, labels: Sequence[str]) -> bool:
    """Whether numbers are 0 or 1 for every label rather than numbers of labels."""
    count = len(sources.dataset.label_names or labels)
    there = [row for row in lists if row is not None and not _unpublished(row)]
    values = {value for row in there for value in row if not missing(value)}
    if kind.startswith("bool"):
        return True
    same = all(len(row) == count for row in there)
    if kind.startswith("float") and (same or not values <= {float(value) for value in range(count)}):
        return True
    if not (same and values <= {*BITS}):
        return False
    if there and all(row == sorted(set(row)) for row in there) and len({tuple(row) for row in there}) == 1:
        problem = f"every row is {there[0]}, which can be 0 or 1 for each of {count} labels or numbers of labels"
        raise Unusable("dataset.ref_keys", f"{problem}; give names of labels, or true and false for each label")
    return True


def _unpublished(row: Sequence[Any]) -> bool:
    return bool(row) and all(missing(value) or value in UNLABELLED for value in row)


def _bits(
    lists: Sequence[list[Any] | None], names: Sequence[str], labels: Sequence[str], mapping: Mapping[str, str]
) -> list[Row | None]:
    """Rows of 0 and 1 in the order of ``names``, brought into the order of the model's labels."""
    absent = [label for label in labels if label not in {mapping.get(name, name) for name in names}]
    if absent:
        raise Unusable("dataset.label_names", f"no number of a row stands for the model's {some(absent)}; name it too")
    sources = [[place for place, name in enumerate(names) if mapping.get(name, name) == label] for label in labels]
    found: list[Row | None] = []
    for number, row in enumerate(lists, start=1):
        if row is None or _unpublished(row):
            found.append(None)
            continue
        if len(row) != len(names):
            raise Unusable("dataset.ref_keys", f"row {number} has {len(row)} numbers for {len(names)} labels")
        wrong = next((value for value in row if value not in BITS), None)
        if wrong is not None or None in row:
            raise Unusable("dataset.ref_keys", f"row {number} holds {wrong}, it must hold 0 or 1 for every label")
        found.append(tuple(max(int(row[place]) for place in places) for places in sources))
    return found


def _numbers(
    lists: Sequence[list[Any] | None], sources: Sources, feature: Any, labels: Sequence[str]
) -> list[Row | None]:
    """Rows of 0 and 1 from lists of names or of numbers of labels."""
    rows = [None if row is None or _unpublished(row) else [whole(value) for value in row] for row in lists]
    number = namer(sources, feature, [value for row in rows if row is not None for value in row], labels)
    found: list[Row | None] = []
    for place, row in enumerate(rows, start=1):
        if row is None:
            found.append(None)
            continue
        given = [number(value) for value in row]
        if None in given:
            raise Unusable("dataset.ref_keys", f"row {place} holds {row[given.index(None)]} among its labels")
        twice = next((value for value in row if isinstance(value, int) and row.count(value) > 1), None)
        if twice is not None:
            problem = f"row {place} holds label number {twice} twice; 0 or 1 for every label needs rows of"
            raise Unusable("dataset.ref_keys", f"{problem} {len(sources.dataset.label_names or labels)} numbers")
        found.append(tuple(int(label in given) for label in range(len(labels))))
    return found

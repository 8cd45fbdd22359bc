"""Tables with a row for every pair of a query and a passage, or for every triple, brought into a row per query.

A query is told by its id where ``data_keys`` names a column of ids, else by its text; queries stand in the order in
which they come first. A passage that comes again for the same query counts once, and one that is both a positive and a
negative of it is a positive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from quantbench.sources.cells import CORPUS, item, missing
from quantbench.sources.hub import mistake
from quantbench.sources.judgments import NEGATIVE, PASSAGES, POSITIVE, QUERY, QUERY_ID

PARTS = (PASSAGES, POSITIVE, NEGATIVE, CORPUS)
UNKNOWN = -1
"""A label where none is published, if all are that or missing."""


def needed(data: Any, keys: Mapping[str, str], refs: Sequence[str]) -> bool:
    """Whether several rows are about one query: a passage and its label each, or triples with queries that come again.

    Args:
        data: a ``datasets.Dataset``.
        keys: columns by data key.
        refs: the column of what each passage is worth.

    """
    columns = [keys[key] for key in (QUERY, *PARTS, QUERY_ID) if key in keys] + list(refs)
    if QUERY not in keys or not set(columns) <= set(data.column_names):
        return False
    if PASSAGES in keys:
        return _single(data.features[keys[PASSAGES]]) and all(item(data.features[name]) is None for name in refs)
    if POSITIVE not in keys or not _single(data.features[keys[POSITIVE]]):
        return False
    names = data[keys.get(QUERY_ID, keys[QUERY])][:]
    return len(set(names)) < len(names)


def _single(feature: Any) -> bool:
    """Whether a cell is one passage: a text, or an object with one."""
    return "text" in feature if isinstance(feature, Mapping) else getattr(feature, "dtype", None) == "string"


def by_query(data: Any, keys: Mapping[str, str], refs: Sequence[str]) -> Any:
    """The columns of ``keys`` and ``refs`` with a row per query, in which passages and labels are lists.

    Labels are missing where no row has one.

    Raises:
        BadInput: at a dotted key, with the row: if a query or a passage is missing, an id stands for two queries, or a
            passage is worth two things to one query.

    """
    import datasets

    own = [key for key in (*PARTS, QUERY_ID) if key in keys]
    table = {key: data[keys[key]][:] for key in (QUERY, *own)}
    labels = [data[name][:] for name in refs]
    groups: dict[Any, _Group] = {}
    for row in range(len(data)):
        query = table[QUERY][row]
        if missing(query):
            raise mistake("dataset.data_keys", f"row {row + 1} has no text in column {keys[QUERY]!r}; write it")
        name = table[QUERY_ID][row] if QUERY_ID in table else query
        group = groups.setdefault(name, _Group(query, name))
        if group.query != query:
            message = f"row {row + 1} has the id {name!r} of another query; give each an id of its own"
            raise mistake("dataset.data_keys", message)
        for key in own[: own.index(QUERY_ID)] if QUERY_ID in own else own:
            group.add(key, table[key][row], [label[row] for label in labels], row + 1)
    kinds = {keys[key]: _listed(data.features[keys[key]]) for key in own if key != QUERY_ID}
    kinds |= {name: datasets.List(data.features[name]) for name in refs}
    kinds |= {keys[key]: data.features[keys[key]] for key in (QUERY, QUERY_ID) if key in keys}
    graded = any(not missing(cell) and cell != UNKNOWN for label in labels for cell in label)
    rows = [_row(group, keys, refs if graded else ()) for group in groups.values()]
    columns = {name: [row.get(name) for row in rows] for name in kinds}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


class _Group:
    """What all rows of a query have."""

    def __init__(self, query: Any, name: Any) -> None:
        self.query, self.name = query, name
        self.parts: dict[str, dict[str, tuple[Any, list[Any]]]] = {}

    def add(self, key: str, cell: Any, labels: list[Any], row: int) -> None:
        """Add the passages of a cell, of which a label belongs to one of ``PASSAGES`` only."""
        part = self.parts.setdefault(key, {})
        for passage in _passages(cell):
            known = part.setdefault(_told(passage), (passage, labels))
            if key == PASSAGES and known[1] != labels:
                message = f"row {row} judges a passage for its query once more and otherwise; keep one of both rows"
                raise mistake("dataset.ref_keys", message)
        if key == PASSAGES and missing(cell):
            raise mistake("dataset.data_keys", f"row {row} has no passage; write it, or take the row out")

    def of(self, key: str) -> Iterator[tuple[Any, list[Any]]]:
        """Its passages with their labels; no negatives that are positives too."""
        others = self.parts.get(POSITIVE, {}) if key == NEGATIVE else {}
        yield from (found for told, found in self.parts.get(key, {}).items() if told not in others)


def _passages(cell: Any) -> Iterable[Any]:
    if missing(cell):
        return []
    return cell if isinstance(cell, list) else [cell]


def _told(passage: Any) -> str:
    return passage if isinstance(passage, str) else json.dumps(passage, sort_keys=True, default=str)


def _listed(feature: Any) -> Any:
    import datasets

    return datasets.List(feature) if item(feature) is None else feature


def _row(group: _Group, keys: Mapping[str, str], refs: Sequence[str]) -> dict[str, Any]:
    found = {keys[key]: [passage for passage, _ in group.of(key)] for key in PARTS if key in keys}
    found |= {name: [labels[place] for _, labels in group.of(PASSAGES)] for place, name in enumerate(refs)}
    known = {QUERY: group.query, QUERY_ID: group.name}
    return found | {keys[key]: known[key] for key in known if key in keys}

"""Queries with their passages and what these are worth, as columns hold them.

``passages`` are lists, beside ``ref_keys`` with a whole number for each passage, or ``positive`` and ``negative`` are
passages that are relevant and such that are not. A passage is a text, or an object with a ``text`` and perhaps a
``title``, which then stands before it, and an id. A passage is relevant from 1 on, as for trec_eval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from quantbench.schema.settings import Settings, Sources
from quantbench.served.queries import texts_of
from quantbench.sources import labels as names_of_labels
from quantbench.sources.cells import CORPUS, READ, Unusable, item, missing, number, references
from quantbench.sources.labels import NUMBERS, TEXTS

QUERY, QUERY_ID, PASSAGES, POSITIVE, NEGATIVE = "query", "query_id", "passages", "positive", "negative"
DATA_KEYS = (QUERY, PASSAGES, POSITIVE, NEGATIVE, CORPUS, QUERY_ID)
IDS = ("id", "_id", "docid", "pid", "passage_id", "doc_id", "corpus-id")
"""Fields of a passage that name it."""
RELEVANT = 1
"""Grade from which on a passage is relevant."""


class Passage(NamedTuple):
    """A passage: its id, None where it has none, and its text, None where a judged passage is not there."""

    id: str | None
    text: str | None


class Judged(NamedTuple):
    """A query, its passages and the grade of each; ``id`` is the query's own, None where it has none."""

    query: str
    id: str | None
    passages: tuple[Passage, ...]
    grades: tuple[int, ...]


def passages(cell: Any) -> list[Passage]:
    """The passages of a cell: of a text, an object, or a list of them."""
    if missing(cell):
        return []
    given = cell if isinstance(cell, list | tuple) else [cell]
    return [Passage(_id(one), text) for one, text in zip(given, texts_of(given), strict=True)]


def _id(cell: Any) -> str | None:
    found = (
        next((cell[name] for name in IDS if cell.get(name) is not None), None) if isinstance(cell, Mapping) else None
    )
    return None if found is None else str(found)


def read(sources: Sources, dataset: Any) -> list[Judged]:
    """The queries of rows that count, graded by ``cells.READ``; by 0 where rows have no judgments."""
    keys, graded = sources.dataset.data_keys, READ in dataset.column_names
    own = [passages_of(sources, dataset, key) for key in (PASSAGES, POSITIVE, NEGATIVE) if key in keys]
    together = [tuple(passage for part in parts for passage in part) for parts in zip(*own, strict=True)]
    names = dataset[keys[QUERY_ID]] if QUERY_ID in keys else [None] * len(dataset)
    grades = references(dataset) if graded else [[0] * len(found) for found in together]
    return [
        Judged(query, None if missing(name) else str(name), found, tuple(values))
        for query, name, found, values in zip(dataset[keys[QUERY]], names, together, grades, strict=True)
    ]


def passages_of(sources: Sources, dataset: Any, key: str) -> list[list[Passage]]:
    """The passages in the column of a data key, for every row."""
    return [passages(cell) for cell in dataset[sources.dataset.data_keys[key]]]


def grades(sources: Sources, dataset: Any) -> list[list[int] | None]:
    """The grade of every passage, for each row of a split; None where it has no passages or no judgments.

    Raises:
        Unusable: if there are not as many grades as passages, or one is no whole number.

    """
    keys = sources.dataset.data_keys
    if PASSAGES not in keys:
        counts = [
            [len(found) for found in passages_of(sources, dataset, key)] if key in keys else [0] * len(dataset)
            for key in (POSITIVE, NEGATIVE)
        ]
        return [[RELEVANT] * good + [0] * bad or None for good, bad in zip(*counts, strict=True)]
    column = sources.dataset.ref_keys[0]
    rows = zip(passages_of(sources, dataset, PASSAGES), dataset[column], strict=True)
    return [_graded(found, cell, index + 1, column) for index, (found, cell) in enumerate(rows)]


def _graded(found: Sequence[Passage], cell: Any, row: int, column: str) -> list[int] | None:
    if missing(cell) or not found:
        return None
    values = cell if isinstance(cell, list | tuple) else [cell]
    if len(values) != len(found):
        message = f"row {row} has {len(found)} passages and {len(values)} values in column {column!r}"
        raise Unusable("dataset.ref_keys", f"{message}; write one for each")
    return [_grade(value, row, column) for value in values]


def _grade(value: Any, row: int, column: str) -> int:
    try:
        read_as = float(value) if isinstance(value, bool) else number(value)
    except (TypeError, ValueError):
        read_as = None
    if read_as is None or not read_as.is_integer():
        message = f"row {row} has {value!r} in column {column!r}; what a passage is worth is a whole number"
        raise Unusable("dataset.ref_keys", f"{message}, 0 for one that is irrelevant")
    return int(read_as)


def check(settings: Settings, features: Any, split: str, example: str = "relevance") -> list[tuple[str, str]]:
    """Mistakes in columns as (dotted key, message): such as are not there, or hold something else."""
    keys = settings.dataset.data_keys
    listed, signed = PASSAGES in keys, POSITIVE in keys
    found = names_of_labels.columns(settings, features, split, {QUERY: "the query"}, refs=int(listed), example=example)
    if listed == signed or (listed and NEGATIVE in keys):
        message = "data_keys needs either passages, with their relevance in ref_keys, or positive and negative"
        found.append(("dataset.data_keys", f"{message}, the columns of passages by what they are"))
    if found:
        return found
    if getattr(features[keys[QUERY]], "dtype", None) not in TEXTS:
        kind = features[keys[QUERY]]
        found.append(("dataset.data_keys", f"data_keys.query: column {keys[QUERY]!r} must hold a text, it is {kind}"))
    for key in (PASSAGES, POSITIVE, NEGATIVE, CORPUS):
        if key in keys and not _holds_passages(features[keys[key]], listed=key in (PASSAGES, CORPUS)):
            kind = features[keys[key]]
            message = f"data_keys.{key}: column {keys[key]!r} must hold a list of passages per query, it is {kind}"
            found.append(("dataset.data_keys", f"{message}; bring all passages of a query into one row"))
    for column in settings.dataset.ref_keys:
        kind = str(getattr(item(features[column]), "dtype", ""))
        if not kind.startswith((*NUMBERS, *TEXTS)):
            message = f"column {column!r} must hold a list of whole numbers per query, it is {features[column]}"
            found.append(("dataset.ref_keys", f"{message}; give one for each passage"))
    return found


def _holds_passages(feature: Any, listed: bool) -> bool:
    inner = item(feature)
    cell = feature if inner is None else inner
    texts = "text" in cell if isinstance(cell, Mapping) else getattr(cell, "dtype", None) in TEXTS
    return texts and (inner is not None or not listed)


def notes(rows: Sequence[Judged]) -> tuple[str, ...]:
    """What a reader of the scores must know of judgments."""
    useless = sum(all(grade < RELEVANT for grade in row.grades) for row in rows)
    absent = [passage for row in rows for passage in row.passages if passage.text is None]
    again = len(rows) - len({(row.query, row.id) for row in rows})
    told = []
    if useless:
        message = "queries without a relevant passage, which count as 0 as for trec_eval"
        told.append(f"{message}: {useless} of {len(rows)}")
    if absent:
        message = "judged passages that the corpus does not have, which count as missed where they are relevant"
        told.append(f"{message}: {len(absent)}, the first is {absent[0].id!r}")
    if again:
        told.append(f"rows with the query of another row, each scored by its own judgments: {again}")
    return tuple(told)

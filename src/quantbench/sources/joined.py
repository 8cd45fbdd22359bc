"""Queries, passages and judgments that lie apart, joined into a row per query that passages are judged for.

Passages are read by the rules of BEIR (Thakur et al., 2021): title and text with a blank between them. Passages that no
row judges are spread evenly over the rows, in the column ``corpus``, so that the rows together hold the whole of it.
Passages that a first stage found and nobody judged stand beside the judged ones, with the grade 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from quantbench.sources.cells import CORPUS, missing
from quantbench.sources.hub import mistake
from quantbench.sources.local import sliced

QUERIES = "queries"
COLUMNS = {"query": "query", "query_id": "query_id", "passages": "passages", CORPUS: CORPUS}
"""Columns of a split by data key; beside them there is ``RELEVANCE``."""
RELEVANCE = "relevance"
IDS = "judged"
"""Column of the ids of judged passages, before their texts are read."""


class Judgment(NamedTuple):
    """What a passage is worth to a query, and where that stands, in words."""

    where: str
    query: str
    passage: str
    grade: int


class Collection(Protocol):
    """Queries, passages and judgments, each read when it is asked for."""

    def splits(self) -> list[str]:
        """The splits that there are judgments of."""
        ...

    def named(self, part: str) -> str:
        """What a message calls ``queries`` or ``corpus``."""
        ...

    def texts(self, part: str, splits: Sequence[str]) -> dict[str, str]:
        """The texts by id of ``queries`` or ``corpus``, of these splits where each has its own."""
        ...

    def judgments(self, split: str) -> Iterator[Judgment]:
        """What a split judges, in its order."""
        ...

    def candidates(self, split: str) -> Mapping[str, Sequence[str]]:
        """The passages by query that a first stage found for it; none where nothing says which."""
        ...


def add_text(found: dict[str, str], key: Any, row: Mapping[str, Any], where: str) -> None:
    """Add a query or a passage, with its ``title`` in front of its ``text``, under the id ``key``.

    Raises:
        BadInput: at ``dataset.path``, with ``where`` it stands, if it has no id or text, or its id is there already.

    """
    text, title = row.get("text"), row.get("title")
    if missing(key) or not isinstance(text, str):
        raise mistake("dataset.path", f"{where} lacks _id or text; write both, the text as a text")
    if str(key) in found:
        raise mistake("dataset.path", f"{where} has the _id {str(key)!r} once more; name it otherwise")
    found[str(key)] = f"{title} {text}".strip() if title else text.strip()


def read(collection: Collection, split: str) -> Any:
    """A split, or slices of splits, without the texts of passages, which :func:`with_texts` adds.

    Returns:
        A ``datasets.Dataset`` with the columns ``query``, ``query_id``, ``judged`` (ids) and ``relevance``.

    Raises:
        BadInput: at ``dataset.path``, if something cannot be read or a judged query is not there.
        ValueError: if there is no such split.

    """
    import datasets

    known = collection.splits()
    wanted = [part.partition("[")[0].strip() for part in split.split("+")]
    if not set(wanted) & set(known):
        datasets.ReadInstruction.from_spec(split)  # what is no split at all has a message of its own
        raise ValueError(f"Unknown split {split!r}. Should be one of [{', '.join(known)}].")
    kinds = datasets.Features(
        {
            "query": datasets.Value("string"),
            "query_id": datasets.Value("string"),
            IDS: datasets.List(datasets.Value("string")),
            RELEVANCE: datasets.List(datasets.Value("int64")),
        }
    )
    tables = {
        name: datasets.Dataset.from_list(_rows(collection, name), features=kinds) for name in known if name in wanted
    }
    return sliced(tables, split)


def _rows(collection: Collection, split: str) -> list[dict[str, Any]]:
    """A row per query that a split judges passages for."""
    queries, found = collection.texts(QUERIES, [split]), dict[str, dict[str, int]]()
    for where, query, passage, grade in collection.judgments(split):
        if query not in queries:
            message = f"{where} judges for the query {query!r}, which {collection.named(QUERIES)} does not have"
            raise mistake("dataset.path", f"{message}; add it there, or take what is judged for it out")
        if found.setdefault(query, {}).setdefault(passage, grade) != grade:
            message = f"{where} judges {passage!r} for query {query!r} once more and otherwise"
            raise mistake("dataset.path", f"{message}; keep one line")
    candidates = collection.candidates(split)
    for query, grades in found.items():
        for passage in candidates.get(query, ()):
            grades.setdefault(passage, 0)
    return [
        {"query": queries[query], "query_id": query, IDS: list(grades), RELEVANCE: list(grades.values())}
        for query, grades in found.items()
    ]


def with_texts(collection: Collection, rows: Any, splits: Sequence[str]) -> Any:
    """Rows of :func:`read` with ``passages`` and ``corpus``: lists of passages, each with its ``id`` and ``text``.

    A judged passage that the corpus does not have has no text.
    """
    import datasets

    texts = collection.texts(CORPUS, splits)
    judged = list(rows[IDS])
    there = {name for names in judged for name in names}
    others = [name for name in texts if name not in there]
    passage = datasets.List({"id": datasets.Value("string"), "text": datasets.Value("string")})
    kinds = datasets.Features({"passages": passage, CORPUS: passage})
    found = {
        "passages": [[{"id": name, "text": texts.get(name)} for name in names] for names in judged],
        CORPUS: [[{"id": name, "text": texts[name]} for name in part] for part in _spread(others, len(judged))],
    }
    added = datasets.Dataset.from_dict(found, features=kinds)
    return datasets.concatenate_datasets([rows.remove_columns(IDS), added], axis=1)


def _spread(names: Sequence[str], parts: int) -> Iterator[Sequence[str]]:
    """Names in so many parts of nearly equal size."""
    for part in range(parts):
        yield names[len(names) * part // parts : len(names) * (part + 1) // parts]

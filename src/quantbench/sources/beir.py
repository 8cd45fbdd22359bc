"""Folders of the BEIR layout: ``corpus.jsonl``, ``queries.jsonl`` and judgments in ``qrels``, a file for each split.

A split has a row for every query that its file judges passages for, in the order of that file. Passages are read by the
rules of BEIR (Thakur et al., 2021): title and text with a blank between them. Passages that no row judges are spread
evenly over the rows, in the column ``corpus``, so that the rows together hold the whole of it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantbench.sources.cells import CORPUS, missing
from quantbench.sources.hub import mistake
from quantbench.sources.local import sliced

QUERIES, QRELS = "queries", "qrels"
ENDINGS = (".jsonl", ".jsonl.gz")
JUDGMENTS = (".tsv", ".jsonl")
FIELDS = ("query-id", "corpus-id", "score")
COLUMNS = {"query": "query", "query_id": "query_id", "passages": "passages", CORPUS: CORPUS}
"""Columns of a split by data key; beside them there is ``RELEVANCE``."""
RELEVANCE = "relevance"
IDS = "judged"
"""Column of the ids of judged passages, before their texts are read."""


def is_layout(folder: Path) -> bool:
    """Whether a folder is of this layout."""
    return bool(_file(folder, CORPUS) and _file(folder, QUERIES) and _judgments(folder))


def splits(folder: Path) -> list[str]:
    """The names of its splits, by its files of judgments."""
    return list(_judgments(folder))


def read(folder: Path, split: str) -> Any:
    """A split, or slices of splits, without the texts of passages, which :func:`with_texts` adds.

    Returns:
        A ``datasets.Dataset`` with the columns ``query``, ``query_id``, ``judged`` (ids) and ``relevance``.

    Raises:
        BadInput: at ``dataset.path``, if a file cannot be read or a judged query is not there.
        ValueError: if there is no such split.

    """
    import datasets

    files = _judgments(folder)
    wanted = {part.partition("[")[0].strip() for part in split.split("+")}
    if not wanted & set(files):
        datasets.ReadInstruction.from_spec(split)  # what is no split at all has a message of its own
        raise ValueError(f"Unknown split {split!r}. Should be one of [{', '.join(files)}].")
    queries = _texts(folder, QUERIES)
    kinds = datasets.Features(
        {
            "query": datasets.Value("string"),
            "query_id": datasets.Value("string"),
            IDS: datasets.List(datasets.Value("string")),
            RELEVANCE: datasets.List(datasets.Value("int64")),
        }
    )
    tables = {
        name: datasets.Dataset.from_list(_rows(file, queries), features=kinds)
        for name, file in files.items()
        if name in wanted
    }
    return sliced(tables, split)


def with_texts(folder: Path, rows: Any) -> Any:
    """Rows of :func:`read` with ``passages`` and ``corpus``: lists of passages, each with its ``id`` and ``text``.

    A judged passage that the corpus does not have has no text.
    """
    import datasets

    texts = _texts(folder, CORPUS)
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


def _file(folder: Path, name: str) -> Path | None:
    return next((folder / f"{name}{ending}" for ending in ENDINGS if (folder / f"{name}{ending}").is_file()), None)


def _judgments(folder: Path) -> dict[str, Path]:
    """The files of judgments by split."""
    place = folder / QRELS
    found = sorted(place.iterdir()) if place.is_dir() else []
    return {path.stem: path for path in found if path.suffix in JUDGMENTS and not path.name.startswith(".")}


def _texts(folder: Path, name: str) -> dict[str, str]:
    """Texts by id, with their titles in front."""
    file = _file(folder, name)
    assert file is not None, "a folder of this layout has it"
    found: dict[str, str] = {}
    for number, row in _json_lines(file):
        if missing(row.get("_id")) or not isinstance(row.get("text"), str):
            raise mistake("dataset.path", f"line {number} of {file} lacks _id or text; write both, the text as a text")
        key, title = str(row["_id"]), row.get("title")
        if key in found:
            raise mistake("dataset.path", f"line {number} of {file} has the _id {key!r} once more; name it otherwise")
        found[key] = f"{title} {row['text']}".strip() if title else row["text"].strip()
    return found


def _rows(file: Path, queries: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row per query that a file judges passages for."""
    found: dict[str, dict[str, int]] = {}
    for number, (query, passage, score) in _judged(file):
        grades = found.setdefault(query, {})
        if grades.setdefault(passage, score) != score:
            message = f"line {number} of {file} judges {passage!r} for query {query!r} once more and otherwise"
            raise mistake("dataset.path", f"{message}; keep one line")
    absent = [query for query in found if query not in queries]
    if absent:
        count = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        message = f"{file} judges for the query {absent[0]!r}{count}, which queries.jsonl does not have"
        raise mistake("dataset.path", f"{message}; add it there, or take these lines out")
    return [
        {"query": queries[query], "query_id": query, IDS: list(grades), RELEVANCE: list(grades.values())}
        for query, grades in found.items()
    ]


def _judged(file: Path) -> Iterator[tuple[int, tuple[str, str, int]]]:
    """Number of the line, query, passage and grade of every judgment; a first line without a number is a header."""
    lines = _json_lines(file) if file.suffix == ".jsonl" else _tab_lines(file)
    for number, row in lines:
        cells = [str(row.get(field, "")).strip() for field in FIELDS]
        try:
            yield number, (cells[0], cells[1], int(cells[2]))
        except ValueError:
            if number == 1 and file.suffix == ".tsv":
                continue
            message = f"line {number} of {file} is no judgment: {' '.join(cells)!r}"
            how = "write query-id, corpus-id and a whole number, with tabs between them"
            raise mistake("dataset.path", f"{message}; {how}") from None


def _tab_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_open(file), start=1):
        if line.strip():
            yield number, dict(zip(FIELDS, line.rstrip("\n").split("\t"), strict=False))


def _json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_open(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise mistake("dataset.path", f"line {number} of {file} is no JSON object; mend it")
        yield number, row


def _open(file: Path) -> Iterator[str]:
    """The lines of a file, which may be compressed."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as data:
        for number, line in enumerate(data, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise mistake("dataset.path", f"line {number} of {file} is not UTF-8; convert it") from None

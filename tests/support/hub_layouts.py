"""Folders of the BEIR layout as the hub holds such data: in configurations, judgments beside them or elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from tests.support.rankings import SPLITS, qrels

Tables = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Rows by configuration and split."""


def write_configurations(folder: Path, tables: Tables) -> Path:
    """Parquet files as ``push_to_hub`` names them, and a ``README.md`` that says which are of which configuration."""
    said = ["---", "configs:"]
    for name, splits in tables.items():
        said += [f"- config_name: {name}", "  data_files:"]
        for split, rows in splits.items():
            place = folder / name
            place.mkdir(parents=True, exist_ok=True)
            Dataset.from_list([dict(row) for row in rows]).to_parquet(place / f"{split}-00000-of-00001.parquet")
            said += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*said, "---", ""]))
    return folder


def _rows(folder: Path, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{part}.jsonl").read_text().splitlines()]


def judged(folder: Path, split: str, kind: type = int) -> list[dict[str, Any]]:
    """The judgments of a folder of the BEIR layout as rows, with scores of a kind."""
    return [
        {"query-id": query, "corpus-id": name, "score": kind(score)}
        for query, grades in qrels(folder, split).items()
        for name, score in grades.items()
    ]


def as_mteb(source: Path, folder: Path, before: str = "", judgments: str = "default") -> Path:
    """Corpus, queries and judgments, whose scores are floating-point numbers as some of its data sets have them."""
    tables = {
        f"{before}corpus": {"corpus": _rows(source, "corpus")},
        f"{before}queries": {"queries": _rows(source, "queries")},
        f"{before}{judgments}": {split: judged(source, split, float) for split in SPLITS},
    }
    return write_configurations(folder, tables)


def as_beir(source: Path, folder: Path) -> Path:
    """Corpus and queries in a data set, judgments as tables in another beside it."""
    write_configurations(folder, {part: {part: _rows(source, part)} for part in ("corpus", "queries")})
    apart = folder.with_name(f"{folder.name}-qrels")
    apart.mkdir(parents=True)
    for split in SPLITS:
        (apart / f"{split}.tsv").write_bytes((source / "qrels" / f"{split}.tsv").read_bytes())
    return folder


def as_nano(source: Path, folder: Path) -> Path:
    """Judgments without scores, and a split of everything per data set, of which one is called as ``source``'s are."""
    relevant = {
        split: [
            {name: row[name] for name in ("query-id", "corpus-id")} for row in judged(source, split) if row["score"]
        ]
        for split in SPLITS
    }
    there = {part: _rows(source, part) for part in ("corpus", "queries")}
    plain = [{"_id": row["_id"], "text": f"{row['title']} {row['text']}"} for row in there["corpus"]]
    tables = {
        "corpus": dict.fromkeys(SPLITS, plain),
        "queries": {split: [row for row in there["queries"] if row["_id"].startswith(split)] for split in SPLITS},
        "qrels": relevant,
    }
    return write_configurations(folder, tables)


def as_reranking(source: Path, folder: Path, found: Mapping[str, Sequence[str]]) -> Path:
    """As mteb has what is to be reranked: with passages that a first stage found for each query of ``test``."""
    as_mteb(source, folder)
    with (folder / "README.md").open() as file:
        said = file.read().rstrip().removesuffix("---")
    rows = [{"query-id": query, "corpus-ids": list(names)} for query, names in found.items()]
    (folder / "top_ranked").mkdir()
    Dataset.from_list(rows).to_parquet(folder / "top_ranked" / "test-00000-of-00001.parquet")
    more = "- config_name: top_ranked\n  data_files:\n  - split: test\n    path: top_ranked/test-*\n---\n"
    (folder / "README.md").write_text(said + more)
    return folder

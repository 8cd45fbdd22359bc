"""Queries with passages: searched by embeddings or put into order by cross-encoders, and scored as trec_eval does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from datasets import Dataset
from tests.cases.case import Case, Refused, Right, case
from tests.support import rankings
from tests.support.rankings import of_beir, of_lists, write_beir, write_lists, write_reranker, write_searcher


def _means(found: Iterable[Mapping[str, float]], *measures: tuple[str, str]) -> dict[str, float]:
    """Means over queries of what pytrec_eval says, by the names that they have here."""
    rows = list(found)
    return {name: float(np.mean([row[theirs] for row in rows])) for name, theirs in measures}


def _whole(settings: dict, **changes: object) -> dict:
    return {**settings, "batch_sizes": [], "input_lengths": [16], **changes}


@case("a folder of the BEIR layout, with graded judgments and ties", "pytrec_eval on sentence-transformers' embeddings")
def beir(folder: Path) -> Case:
    write_searcher(folder / "model")
    write_beir(folder / "data")
    values = _means(
        rankings.by_sentence_transformers(folder).values(), ("ndcg_at_10", "ndcg_cut_10"), ("recall_at_10", "recall_10")
    )
    notes = ("24 queries are looked for in 60 passages", "the first is 'gone'")
    return Case(_whole(of_beir(folder, "retrieval")), Right(values, examples=24, notes=notes))


@case("queries with lists of passages and their relevance", "pytrec_eval on the scores of a CrossEncoder")
def lists(folder: Path) -> Case:
    write_reranker(folder / "model")
    rows = write_lists(folder / "data")
    values = _means(rankings.by_cross_encoder(folder / "model", rows), ("ndcg_at_10", "ndcg_cut_10"), ("map", "map"))
    return Case(_whole(of_lists(folder, "reranking")), Right(values, examples=24))


@case("positives and negatives of sentence-transformers' data sets", "pytrec_eval on the scores of a CrossEncoder")
def signed(folder: Path) -> Case:
    write_reranker(folder / "model")
    rows = write_lists(folder / "lists")
    cut = [{**row, "relevance": [int(place == 0) for place in range(len(row["passages"]))]} for row in rows]
    (folder / "data").mkdir()
    for split in ("train", "validation"):
        tables = [
            {"query": row["query"], "positive": row["passages"][0], "negative": row["passages"][1:]} for row in rows
        ]
        Dataset.from_list(tables).to_parquet(folder / "data" / f"{split}.parquet")
    values = _means(rankings.by_cross_encoder(folder / "model", cut), ("ndcg_at_10", "ndcg_cut_10"), ("map", "map"))
    keys = {"query": "query", "positive": "positive", "negative": "negative"}
    return Case(_whole(of_lists(folder, "reranking", keys)), Right(values, examples=24))


@case("a row for every pair of a query and a passage", "planted")
def flat(folder: Path) -> Case:
    write_reranker(folder / "model")
    (folder / "data").mkdir()
    rows = [{"query": "the match", "passages": text, "relevance": 1} for text in ("rain fell", "team won")]
    for split in ("train", "validation"):
        Dataset.from_list(rows).to_parquet(folder / "data" / f"{split}.parquet")
    says = ["a list of passages per query", "into one row"]
    return Case(_whole(of_lists(folder, "reranking")), Refused("dataset.data_keys", says))


@case("a classifier of two labels neither of which says relevant", "planted")
def unclear(folder: Path) -> Case:
    write_reranker(folder / "model", ("LABEL_0", "LABEL_1"))
    write_lists(folder / "data")
    return Case(_whole(of_lists(folder, "reranking")), Refused("task_args", ["name it: task_args.relevant_label"]))

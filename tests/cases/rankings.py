"""Queries with passages: searched by embeddings or put into order by cross-encoders, and scored as trec_eval does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from tests.cases.case import Case, Refused, Right, case
from tests.support import hub_layouts, rankings
from tests.support.rankings import of_beir, of_lists, write_beir, write_lists, write_reranker, write_searcher

SIGNED = {"query": "query", "positive": "positive", "negative": "negative"}


def _means(found: Iterable[Mapping[str, float]], *measures: tuple[str, str]) -> dict[str, float]:
    """Means over queries of what pytrec_eval says, by the names that they have here."""
    rows = list(found)
    return {name: float(np.mean([row[theirs] for row in rows])) for name, theirs in measures}


def _tables(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """The same rows in both splits."""
    folder.mkdir()
    for split in ("train", "validation"):
        Dataset.from_list([dict(row) for row in rows]).to_parquet(folder / f"{split}.parquet")


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
    _tables(
        folder / "data",
        [{"query": row["query"], "positive": row["passages"][0], "negative": row["passages"][1:]} for row in rows],
    )
    values = _means(rankings.by_cross_encoder(folder / "model", cut), ("ndcg_at_10", "ndcg_cut_10"), ("map", "map"))
    return Case(_whole(of_lists(folder, "reranking", SIGNED)), Right(values, examples=24))


@case("lists of positives and negatives, as mteb's reranking sets", "CrossEncoderRerankingEvaluator")
def lists_of_both(folder: Path) -> Case:
    write_reranker(folder / "model")
    rows = write_lists(folder / "lists")
    cut = [
        {"query": row["query"], "positive": row["passages"][:1], "negative": row["passages"][1:]}
        for row in rows
        if len(row["passages"]) > 1
    ]
    _tables(folder / "data", cut)
    found = rankings.by_evaluator(folder / "model", cut)
    values = {"ndcg_at_10": found["ndcg@10"], "mrr_at_10": found["mrr@10"], "map": found["map"]}
    return Case(_whole(of_lists(folder, "reranking", SIGNED)), Right(values, examples=len(cut)))


@case("a row for every pair of a query and a passage, with its label", "pytrec_eval on the scores of a CrossEncoder")
def flat(folder: Path) -> Case:
    write_reranker(folder / "model")
    rows = write_lists(folder / "lists")
    pairs = [
        {"query": row["query"], "passage": text, "label": grade}
        for place in range(8)
        for row in rows
        for text, grade in zip(row["passages"][place : place + 1], row["relevance"][place:], strict=False)
    ]
    _tables(folder / "data", pairs)
    values = _means(rankings.by_cross_encoder(folder / "model", rows), ("ndcg_at_10", "ndcg_cut_10"), ("map", "map"))
    settings = of_lists(folder, "reranking", {"query": "query", "passages": "passage"})
    settings["dataset"]["ref_keys"] = ["label"]
    return Case(_whole(settings), Right(values, examples=24))


@case("pairs whose label is a score that is no whole number", "planted")
def scored(folder: Path) -> Case:
    write_reranker(folder / "model")
    _tables(
        folder / "data", [{"query": "the match", "passage": text, "label": 0.5} for text in ("rain fell", "team won")]
    )
    settings = of_lists(folder, "reranking", {"query": "query", "passages": "passage"})
    settings["dataset"]["ref_keys"] = ["label"]
    return Case(_whole(settings), Refused("dataset.ref_keys", ["0.5", "is a whole number"]))


@case("triples of which several are about one query", "pytrec_eval on sentence-transformers' embeddings")
def triples(folder: Path) -> Case:
    write_searcher(folder / "model")
    rows = write_lists(folder / "lists")
    _tables(
        folder / "data",
        [
            {"anchor": row["query"], "positive": row["passages"][0], "negative": negative}
            for row in rows
            for negative in row["passages"][1:]
        ],
    )
    judged = [{text: int(place == 0) for place, text in enumerate(row["passages"])} for row in rows]
    found = rankings.by_texts(folder / "model", [row["query"] for row in rows], judged)
    values = _means(found, ("ndcg_at_10", "ndcg_cut_10"), ("recall_at_10", "recall_10"))
    keys = {"query": "anchor", "positive": "positive", "negative": "negative"}
    return Case(_whole(of_lists(folder, "retrieval", keys)), Right(values, examples=24))


@case("a positive and several columns of negatives", "pytrec_eval on the scores of a CrossEncoder")
def numbered(folder: Path) -> Case:
    write_reranker(folder / "model")
    rows = [row for row in write_lists(folder / "lists") if len(row["passages"]) > 3]
    cut = [{**row, "passages": row["passages"][:4], "relevance": [1, 0, 0, 0]} for row in rows]
    names = ("positive", "negative_1", "negative_2", "negative_3")
    _tables(folder / "data", [{"query": row["query"], **dict(zip(names, row["passages"], strict=True))} for row in cut])
    values = _means(rankings.by_cross_encoder(folder / "model", cut), ("ndcg_at_10", "ndcg_cut_10"), ("map", "map"))
    return Case(
        _whole(of_lists(folder, "reranking", {**SIGNED, "negative": "negative_*"})), Right(values, examples=len(cut))
    )


@case("passages and their labels as lists in a record, as MS MARCO", "pytrec_eval on the scores of a CrossEncoder")
def recorded(folder: Path) -> Case:
    write_reranker(folder / "model")
    rows = write_lists(folder / "lists")
    _tables(
        folder / "data",
        [
            {"query": row["query"], "passages": {"is_selected": row["relevance"], "passage_text": row["passages"]}}
            for row in rows
        ],
    )
    values = _means(rankings.by_cross_encoder(folder / "model", rows), ("ndcg_at_10", "ndcg_cut_10"), ("map", "map"))
    settings = of_lists(folder, "reranking", {"query": "query", "passages": "passages.passage_text"})
    settings["dataset"]["ref_keys"] = ["passages.is_selected"]
    return Case(_whole(settings), Right(values, examples=24))


def _searched(folder: Path, layout: Callable[[Path, Path], Path], **dataset: str) -> Case:
    """A search in data that the hub has in a layout of its own, as in the folder that they are made of."""
    write_searcher(folder / "model")
    write_beir(folder / "data")
    values = _means(
        rankings.by_sentence_transformers(folder).values(), ("ndcg_at_10", "ndcg_cut_10"), ("recall_at_10", "recall_10")
    )
    settings = of_beir(folder, "retrieval")
    settings["dataset"] |= {"path": str(layout(folder / "data", folder / "hub")), **dataset}
    return Case(_whole(settings), Right(values, examples=24, notes=("24 queries are looked for in 60 passages",)))


HUB = "pytrec_eval on sentence-transformers' embeddings"


@case("corpus, queries and judgments in configurations, as mteb's retrieval sets", HUB)
def mteb(folder: Path) -> Case:
    return _searched(folder, hub_layouts.as_mteb)


@case("such configurations of one language of several", HUB)
def language(folder: Path) -> Case:
    def layout(source: Path, target: Path) -> Path:
        return hub_layouts.as_mteb(source, target, "en-", "qrels")

    return _searched(folder, layout, name="en")


@case("corpus and queries in a data set, judgments in NAME-qrels, as BeIR's", HUB)
def apart(folder: Path) -> Case:
    return _searched(folder, hub_layouts.as_beir)


@case("what a first stage found, to be reranked (`top_ranked`)", "pytrec_eval on the scores of a CrossEncoder")
def first_stage(folder: Path) -> Case:
    write_reranker(folder / "model")
    write_beir(folder / "data")
    texts, asked = (rankings.texts_of(folder / "data", f"{part}.jsonl") for part in ("corpus", "queries"))
    judged = rankings.qrels(folder / "data", "test")
    found = {
        query: [f"d{(7 * place + 3) % 50}" for place in range(number, number + 9)]
        for number, query in enumerate(judged)
    }
    folder_of = hub_layouts.as_reranking(folder / "data", folder / "hub", found)
    rows = []
    for query, grades in judged.items():
        every = {**dict.fromkeys(found[query], 0), **grades}
        names = sorted(name for name in every if name in texts)
        gone = [grade for name, grade in every.items() if name not in texts]
        rows.append(
            {
                "query": asked[query],
                "passages": [texts[name] for name in names],
                "relevance": [every[name] for name in names],
                "gone": gone,
            }
        )
    values = _means(rankings.by_cross_encoder(folder / "model", rows), ("ndcg_at_10", "ndcg_cut_10"), ("map", "map"))
    settings = of_beir(folder, "reranking")
    settings["dataset"] |= {"path": str(folder_of)}
    return Case(_whole(settings), Right(values, examples=24))


@case("a classifier of two labels neither of which says relevant", "planted")
def unclear(folder: Path) -> Case:
    write_reranker(folder / "model", ("LABEL_0", "LABEL_1"))
    write_lists(folder / "data")
    return Case(_whole(of_lists(folder, "reranking")), Refused("task_args", ["name it: task_args.relevant_label"]))

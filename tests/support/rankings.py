"""Tiny models that search and rerank, and queries with passages as people have them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytrec_eval
import torch
from datasets import Dataset
from tests.support.fitted import save, tiny_config, tiny_tokenizer
from tests.support.sentence_models import write_dense, write_sentence_model
from tests.support.tiny_tasks import WORDS
from transformers import DistilBertForSequenceClassification

KEYS = {"query": "query", "query_id": "query_id", "passages": "passages", "corpus": "corpus"}
SPLITS = ("train", "test")
PROMPTS = {"prompts": {"query": "the rain : ", "document": "Anna : "}}
MEASURES = {"ndcg_cut_10", "recip_rank", "recall_10", "map"}
"""What pytrec_eval is asked for."""


def text(generator: random.Random, least: int = 3, most: int = 14) -> str:
    """A random text, which is hardly ever drawn twice."""
    return " ".join(generator.choice(WORDS) for _ in range(generator.randint(least, most)))


def write_beir(folder: Path, queries: int = 24, passages: int = 60, seed: int = 0) -> Path:
    """A folder of the BEIR layout with graded judgments in two splits.

    Among its passages are two of equal text, one that is judged and not there, and one with the id of a query.
    """
    generator = random.Random(seed)
    folder.mkdir(parents=True)
    names = [*(f"d{number}" for number in range(passages - 1)), "test-0"]
    corpus = [{"_id": name, "title": text(generator, 1, 2), "text": text(generator)} for name in names]
    corpus[5] = {**corpus[2], "_id": "d5"}
    asked = [{"_id": f"{split}-{number}", "text": text(generator)} for split in SPLITS for number in range(queries)]
    lines(folder / "corpus.jsonl", corpus)
    lines(folder / "queries.jsonl", asked)
    (folder / "qrels").mkdir()
    for split in SPLITS:
        judged = [
            (f"{split}-{number}", name, generator.choice((0, 0, 1, 1, 2, 3)) if number else 0)
            for number in range(queries)
            for name in generator.sample(names, generator.randint(1, 6))
        ]
        judged.append((f"{split}-3", "gone", 2))
        table = "".join(f"{query}\t{name}\t{score}\n" for query, name, score in judged)
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{table}")
    return folder


def lines(file: Path, rows: list[dict[str, Any]]) -> None:
    """A file of JSON lines."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def qrels(folder: Path, split: str) -> dict[str, dict[str, int]]:
    """The judgments of a split, as pytrec_eval takes them."""
    found: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]:
        query, name, score = line.split("\t")
        found.setdefault(query, {})[name] = int(score)
    return found


def texts_of(folder: Path, file: str) -> dict[str, str]:
    """Texts by id, titles in front."""
    rows = map(json.loads, (folder / file).read_text(encoding="utf-8").splitlines())
    return {row["_id"]: " ".join([*filter(None, [row.get("title")]), row["text"]]) for row in rows}


def of_beir(root: Path, task: str, **changes: Any) -> dict[str, Any]:
    """Settings that read ``root/data`` of that layout by ``root/model``."""
    dataset = {"path": str(root / "data"), "eval_split": "test", "calibration_split": "train"}
    return {
        "task": task,
        "model_name_or_path": str(root / "model"),
        "dataset": {**dataset, "data_keys": dict(KEYS), "ref_keys": ["relevance"]},
        "calibration": {"num_calibration_samples": 8},
        "input_lengths": [16],
        **changes,
    }


def write_reranker(folder: Path, labels: tuple[str, ...] = ("LABEL_0",), seed: int = 0) -> Path:
    """A random cross-encoder with an output per label."""
    torch.manual_seed(seed)
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: number for number, name in enumerate(labels)}}
    model = DistilBertForSequenceClassification(tiny_config(**names))
    with torch.no_grad():  # so that scores differ between passages
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    save(model, tiny_tokenizer(), folder)
    return folder


def write_lists(folder: Path, count: int = 24, most: int = 8) -> list[dict[str, Any]]:
    """Parquet files of queries with lists of passages and their relevance; the rows of the split ``validation``."""
    generator = random.Random(1)
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for split in ("train", "validation"):
        sizes = [generator.randint(2, most) for _ in range(count)]
        rows = [
            {
                "query": text(generator),
                "passages": [text(generator) for _ in range(size)],
                "relevance": [generator.choice((0, 0, 1, 2)) for _ in range(size)],
            }
            for size in sizes
        ]
        Dataset.from_list(rows).to_parquet(folder / f"{split}.parquet")
    return rows


def of_lists(root: Path, task: str, keys: Mapping[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Settings that read ``root/data``, by default as :func:`write_lists` writes it."""
    chosen = dict(keys or {"query": "query", "passages": "passages"})
    refs = ["relevance"] if "passages" in chosen else []
    dataset = {"path": str(root / "data"), "calibration_split": "train", "data_keys": chosen, "ref_keys": refs}
    found = of_beir(root, task, **changes)
    return {**found, "dataset": dataset}


def write_searcher(folder: Path) -> Path:
    """A random model with prompts for queries and passages, which its pooling leaves out, and a Dense."""
    modules = (("2_Dense", "Dense"),)
    write_sentence_model(
        folder, "mean_tokens", modules, {"config_sentence_transformers.json": PROMPTS}, include_prompt=False
    )
    write_dense(folder / "2_Dense", 32, 16)
    return folder


def by_sentence_transformers(root: Path, similarity: str = "cosine") -> dict[str, dict[str, float]]:
    """What pytrec_eval says of a search of ``root/data`` by sentence-transformers, by query."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(root / "model"), device="cpu", similarity_fn_name=similarity)
    passages, asked = texts_of(root / "data", "corpus.jsonl"), texts_of(root / "data", "queries.jsonl")
    judged = qrels(root / "data", "test")
    different = list(dict.fromkeys(passages.values()))
    texts = [asked[query] for query in judged]
    near = model.similarity(model.encode_query(texts), model.encode_document(different)).numpy()
    places = {text: place for place, text in enumerate(different)}
    searches = {
        query: {name: float(row[places[text]]) for name, text in passages.items() if name != query}
        for query, row in zip(judged, near, strict=True)
    }
    return dict(pytrec_eval.RelevanceEvaluator(judged, MEASURES).evaluate(searches))


def by_cross_encoder(model: Path, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """What pytrec_eval says of rows of :func:`write_lists` by a cross-encoder of sentence-transformers."""
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(str(model), device="cpu", activation_fn=torch.nn.Identity())
    found = []
    for row in rows:
        scored = encoder.predict([(row["query"], passage) for passage in row["passages"]])
        names = [f"{place:03}" for place in range(len(scored))]
        judged = dict(zip(names, row["relevance"], strict=True))
        judged |= {f"gone {number}": grade for number, grade in enumerate(row.get("gone", ()))}
        search = {"q": dict(zip(names, map(float, scored), strict=True))}
        found.append(pytrec_eval.RelevanceEvaluator({"q": judged}, MEASURES).evaluate(search)["q"])
    return found


def by_texts(model: Path, asked: list[str], judged: list[dict[str, int]]) -> list[dict[str, float]]:
    """What pytrec_eval says of searches in all texts that some query judges, by sentence-transformers.

    Of equal scores the text that is met later stands first.
    """
    from sentence_transformers import SentenceTransformer

    found = SentenceTransformer(str(model), device="cpu")
    texts = list(dict.fromkeys(text for grades in judged for text in grades))
    names = {text: f"{place:06}" for place, text in enumerate(texts)}
    near = found.similarity(found.encode_query(asked), found.encode_document(texts)).numpy()
    grades = {f"q{n}": {names[text]: grade for text, grade in own.items()} for n, own in enumerate(judged)}
    searches = {f"q{n}": dict(zip(names.values(), map(float, row), strict=True)) for n, row in enumerate(near)}
    scored = pytrec_eval.RelevanceEvaluator(grades, MEASURES).evaluate(searches)
    return [scored[f"q{n}"] for n in range(len(asked))]


def by_evaluator(model: Path, samples: list[dict[str, Any]]) -> dict[str, float]:
    """What the evaluator of sentence-transformers says of a cross-encoder on positives and negatives."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

    encoder = CrossEncoder(str(model), device="cpu", activation_fn=torch.nn.Identity())
    found: dict[str, float] = CrossEncoderRerankingEvaluator(samples, write_csv=False)(encoder)
    return found

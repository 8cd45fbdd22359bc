"""Which models and data are about rankings, and which of their columns are read; pure, as ``_guesses``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quantbench.api._guesses import EMBEDDINGS, LABEL, TEXT, Chosen, Given, ask, check_named
from quantbench.sources import judgments
from quantbench.sources.cells import CORPUS, missing, some
from quantbench.sources.columns import Column

SEARCH, RERANK = "retrieval", "reranking"
TASKS = (SEARCH, RERANK)
CLASSIFIER = "ForSequenceClassification"
QUERIES = ("query", "anchor", "question", "search_query")
PASSAGES = ("passages", "documents", "docs", "candidates", "contexts", "texts", "passage", "document")
POSITIVES = ("positive", "positives", "pos", "positive_passages", "positive_documents")
NEGATIVES = ("negative", "negatives", "neg", "negative_passages", "negative_documents", "hard_negatives")
RELEVANCES = ("relevance", "relevances", "labels", "label", "scores", "grades", "qrels", "is_selected")
SAMPLED = 100
"""Rows of which lengths are measured; each has many passages."""


def task_of(task: str, config: Mapping[str, Any], labels: Sequence[str], columns: Sequence[Column]) -> str | None:
    """The task of rankings that a model and data are for, where the model alone said ``task``; None if for none.

    Embedding models search, and classifiers with one output rerank, where there are queries with passages.
    """
    scores = len(labels) == 1 and any(str(name).endswith(CLASSIFIER) for name in config.get("architectures") or [])
    query, passages, positive, negative = _found(columns)
    if query is None or (passages is None and positive is None):
        return None
    if scores:
        return RERANK if passages or negative else None
    return SEARCH if task == EMBEDDINGS else None


def _found(columns: Sequence[Column]) -> tuple[str | None, str | None, str | None, str | None]:
    """The columns of queries, of lists of passages, and of passages that are relevant and that are not."""
    texts = {column.plain: column.name for column in columns if column.kind == "text"}
    lists = {column.plain: column.name for column in columns if column.kind in ("texts", "answers")}
    either = texts | lists
    return _first(texts, QUERIES), _first(lists, PASSAGES), _first(either, POSITIVES), _first(either, NEGATIVES)


def _first(known: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((known[name] for name in names if name in known), None)


def choose_columns(columns: Sequence[Column], given: Given) -> Chosen:
    """The columns that a task of rankings reads.

    Args:
        columns: of the evaluation split.
        given: what was settled by options: the column of queries and that of passages, and that of their relevance.

    Raises:
        BadInput: at the option that settles it.

    """
    check_named(columns, given)
    query, passages, positive, negative = _found(columns)
    if given.texts:
        query, passages = given.texts[0], given.texts[1] if len(given.texts) > 1 else None
    if query is None or (passages is None and positive is None):
        message = "queries and lists of passages are in two columns; name both, first that of queries"
        ask(TEXT, f"{message}; there is: {some(columns)}")
    keys = {judgments.QUERY: query}
    if passages is None:
        assert positive is not None, "one of both is there"
        keys |= {judgments.POSITIVE: positive, **({judgments.NEGATIVE: negative} if negative else {})}
        return Chosen(keys, ())
    keys[judgments.PASSAGES] = passages
    known = {column.plain: column.name for column in columns}
    keys |= {key: known[key] for key in (CORPUS, judgments.QUERY_ID) if key in known}
    return Chosen(keys, (_relevance(columns, given),))


def _relevance(columns: Sequence[Column], given: Given) -> str:
    if given.labels:
        return given.labels[0]
    lists = {column.plain: column.name for column in columns if column.kind in ("integers", "numbers")}
    found = _first(lists, RELEVANCES) or (next(iter(lists.values())) if len(lists) == 1 else None)
    if found is None:
        ask(LABEL, f"which column holds the relevance of each passage is not known; there is: {some(columns)}")
    return found


def rows(taken: Any, keys: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Rows with texts, as a deployed model of rankings is asked."""
    for row in taken:
        own = [row[keys[key]] for key in (judgments.PASSAGES, judgments.POSITIVE, judgments.NEGATIVE) if key in keys]
        texts = [passage.text for cell in own for passage in judgments.passages(cell) if passage.text is not None]
        query = row[keys[judgments.QUERY]]
        if texts and not missing(query):
            yield {"query": query, "passages": texts}

"""Which models and data are about rankings, and which of their columns are read; pure, as ``_guesses``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from quantbench.api._guesses import EMBEDDINGS, LABEL, TEXT, Chosen, Given, ask, check_named
from quantbench.sources import judgments
from quantbench.sources.cells import CORPUS, missing, some
from quantbench.sources.columns import Column

SEARCH, RERANK = "retrieval", "reranking"
TASKS = (SEARCH, RERANK)
CLASSIFIER = "ForSequenceClassification"
QUERIES = ("query", "anchor", "question", "search_query")
PASSAGES = (
    *("passages", "documents", "docs", "candidates", "contexts", "texts", "passage_text", "passage", "document"),
    *("doc", "doc_text"),
)
PASSAGE = (*PASSAGES, "context", "answer", "response", "text", "product_title")
"""Of columns with a passage in each row."""
POSITIVES = ("positive", "positives", "pos", "positive_passages", "positive_documents")
NEGATIVES = ("negative", "negatives", "neg", "negative_passages", "negative_documents", "hard_negatives")
NUMBERED = re.compile(r"(.*negative[_-]?)\d+")
"""Columns of several negatives, each by its number."""
RELEVANCES = (
    *("relevance", "relevances", "labels", "label", "scores", "grades", "qrels", "is_selected", "relevance_label"),
    *("score", "grade", "rating", "relevant", "is_relevant"),
)
SAMPLED = 100
"""Rows of which lengths are measured; each has many passages."""


def task_of(
    task: str, config: Mapping[str, Any], labels: Sequence[str], columns: Sequence[Column], again: Callable[[str], bool]
) -> str | None:
    """The task of rankings that a model and data are for, where the model alone said ``task``; None if for none.

    Embedding models search, and classifiers with one output rerank, where there are queries with passages: in lists, or
    in pairs whose queries come again with other passages and whose labels are whole numbers.

    Args:
        task: see above.
        config: the model's.
        labels: the model's.
        columns: of the evaluation split.
        again: whether cells of a column come again.

    """
    scores = len(labels) == 1 and any(str(name).endswith(CLASSIFIER) for name in config.get("architectures") or [])
    found = _found(columns)
    if found.query is None or not (scores or task == EMBEDDINGS):
        return None
    pairs = found.passage is not None and _first(_numbers(columns, PAIRED), RELEVANCES) and again(found.query)
    if scores:
        return RERANK if found.passages or found.negative or pairs else None
    return SEARCH if found.passages or found.positive or pairs else None


class _Found(NamedTuple):
    """Columns of queries, of passages in lists or one in each row, of passages that are relevant and that are not."""

    query: str | None
    passages: str | None
    passage: str | None
    positive: str | None
    negative: str | None


LISTED, PAIRED = ("integers", "numbers"), ("label", "integer", "truth")
"""Kinds of columns that grade passages in lists, and one passage in each row."""


def _found(columns: Sequence[Column]) -> _Found:
    texts = {column.plain: column.name for column in columns if column.kind == "text"}
    lists = {column.plain: column.name for column in columns if column.kind in ("texts", "answers")}
    either = texts | lists
    numbered = dict.fromkeys(f"{found[1]}*" for name in texts.values() if (found := NUMBERED.fullmatch(name)))
    return _Found(
        _first(texts, QUERIES),
        _first(lists, PASSAGES),
        _first(texts, PASSAGE),
        _first(either, POSITIVES),
        _first(either, NEGATIVES) or next(iter(numbered), None),
    )


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
    query, listed, passage, positive, negative = _found(columns)
    passages = listed or (None if positive else passage)
    if given.texts:
        query, passages = given.texts[0], given.texts[1] if len(given.texts) > 1 else None
    if query is None or (passages is None and positive is None):
        message = "queries and their passages are in two columns; name both, first that of queries"
        ask(TEXT, f"{message}; there is: {some(columns)}")
    keys = {judgments.QUERY: query}
    if passages is None:
        assert positive is not None, "one of both is there"
        keys |= {judgments.POSITIVE: positive, **({judgments.NEGATIVE: negative} if negative else {})}
        return Chosen(keys, ())
    keys[judgments.PASSAGES] = passages
    known = {column.plain: column for column in columns}
    keys |= {key: known[key].name for key in (CORPUS, judgments.QUERY_ID) if key in known}
    return Chosen(keys, (_relevance(columns, given, single=known[_plain(passages)].kind == "text"),))


def _plain(name: str) -> str:
    return Column(name, "none").plain


def _relevance(columns: Sequence[Column], given: Given, single: bool) -> str:
    if given.labels:
        return given.labels[0]
    known = _numbers(columns, (*PAIRED, "number") if single else LISTED)
    found = _first(known, RELEVANCES) or (next(iter(known.values())) if len(known) == 1 else None)
    if found is None:
        ask(LABEL, f"which column holds the relevance of each passage is not known; there is: {some(columns)}")
    return found


def _numbers(columns: Sequence[Column], kinds: Sequence[str]) -> dict[str, str]:
    """Columns that may say what passages are worth."""
    return {column.plain: column.name for column in columns if column.kind in kinds and not column.aside}


def rows(taken: Any, keys: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Rows with texts, as a deployed model of rankings is asked."""
    for row in taken:
        own = [row[keys[key]] for key in (judgments.PASSAGES, judgments.POSITIVE, judgments.NEGATIVE) if key in keys]
        texts = [passage.text for cell in own for passage in judgments.passages(cell) if passage.text is not None]
        query = row[keys[judgments.QUERY]]
        if texts and not missing(query):
            yield {"query": query, "passages": texts}

"""Queries with passages: what a row holds, which passage stands before which, and tokenizers that take such rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import sentences, tokens

Array = np.ndarray[Any, Any]
DIGITS = 6
"""Of a score that is shown."""
TOGETHER = 4096
"""Texts that are tokenized at once, so that what the tokenizer gives need not be kept for all."""


def texts_of(given: Sequence[Any]) -> list[Any]:
    """The texts of passages, each a text or an object with a ``text`` and perhaps a ``title``, which stands before."""
    return [_text(one) if isinstance(one, Mapping) else one for one in given]


def _text(passage: Mapping[str, Any]) -> Any:
    title, text = passage.get("title"), passage.get("text")
    return f"{title} {text}".strip() if title and text is not None else text


def passages(row: Mapping[str, Any]) -> list[str]:
    """The passages of a row, of which one alone need not be in a list; none where it has no field of them."""
    given = row.get("passages", [])
    return texts_of(given if isinstance(given, list) else [given])


def asked(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The queries of rows.

    Raises:
        ValueError: if one is not a text.

    """
    wrong = [number for number, row in enumerate(rows, start=1) if not isinstance(row["query"], str)]
    if wrong:
        raise ValueError(f"example {wrong[0]}: query is not a text")
    return [row["query"] for row in rows]


def problem(value: Any) -> str | None:
    """What is wrong with a field of an example, in words: it is a text, or a list of passages."""
    given = value if isinstance(value, list) else [value]
    fine = all(isinstance(text, str) for text in texts_of(given))
    return None if fine else "is neither a text nor a list of texts"


def ranked(scores: Array, depth: int | None = None) -> Array:
    """The places of scores, the highest first; of equal ones that of the later place, the rule of trec_eval.

    trec_eval compares scores in single precision, and of equal ones puts the later name first. What is called equal
    here is equal there, so that a model that scores all alike gains nothing by the order of a list.

    Args:
        scores: of shape (passages,).
        depth: how many of them; all where it is None.

    """
    single = np.asarray(scores, dtype=np.float32)
    places = np.arange(len(single))
    if depth is not None and depth < len(single):
        least = np.partition(single, len(single) - depth)[len(single) - depth]
        places = np.flatnonzero(single >= least)
    return np.asarray(places[np.lexsort((-places, -single[places]))][:depth])


def compact(inputs: Sequence[Mapping[str, Sequence[int]]]) -> list[dict[str, Array]]:
    """Token values as small arrays: lists of numbers take ten times the memory."""
    return [{name: np.asarray(values, dtype=np.int32) for name, values in given.items()} for given in inputs]


def order(scores: Sequence[float]) -> list[int]:
    """The places of scores, the highest first, see :func:`ranked`."""
    return [int(place) for place in ranked(np.asarray(scores, dtype=np.float64))]


def show(answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The passages of a row with their scores, the best first."""
    texts = passages(row)
    return "\n".join(f"{answer['scores'][place]:.4f}\t{texts[place]}" for place in answer["order"])


def load(folder: Path, known: Mapping[str, Any]) -> tokens.Tokens:
    """The tokenizer of a deployed folder, of sentences where it was one; see ``protocols.ServedProcessor``."""
    if "lower" in known:
        return QuerySentences.read(folder, known)
    return QueryTokens(tokens.load_tokenizer(folder, words=False), tokens.Facts(**known))


class QueryTokens(tokens.Tokens):
    """A tokenizer of pairs, for rows with lists of passages."""

    def problem(self, value: Any) -> str | None:
        """See :func:`problem`."""
        return problem(value)


class QuerySentences(sentences.Sentences):
    """A tokenizer for embeddings, for rows with lists of passages."""

    def problem(self, value: Any) -> str | None:
        """See :func:`problem`."""
        return problem(value)

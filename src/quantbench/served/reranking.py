"""Pairs of a query and a passage to a score of relevance, by a model that reads both together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import queries, sure, tokens

USAGE = "a query and a passage"
OPTIONAL: tuple[str, ...] = ()
"""Fields that a row may have besides."""

show = queries.show


@dataclass(frozen=True)
class Encoded:
    """Tokenized pairs, those of each query behind each other.

    Attributes:
        inputs: token values by input name.
        costs: tokens of each pair.
        members: how many passages each query has.
        relevant: number of the label that says relevant, of two; None where the output is the score.

    """

    inputs: Sequence[Mapping[str, np.ndarray[Any, Any]]]
    costs: Sequence[int]
    members: Sequence[int]
    relevant: int | None


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has: a query, and a passage or a list of passages."""
    return ("query", "passages")


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Tokenize the ``query`` of rows with each of their ``passages``.

    Args:
        rows: the texts.
        processor: a ``tokens.Tokens``.
        args: ``relevant``, see :class:`Encoded`.

    """
    given = [queries.passages(row) for row in rows]
    asked = [query for query, passages in zip(queries.asked(rows), given, strict=True) for _ in passages]
    texts = [text for passages in given for text in passages]
    inputs: list[Mapping[str, np.ndarray[Any, Any]]] = []
    for start in range(0, len(texts), queries.TOGETHER):
        part = slice(start, start + queries.TOGETHER)
        inputs += queries.compact(processor.inputs(processor.encode(asked[part], texts[part])))
    return Encoded(inputs, tokens.costs(inputs), [len(passages) for passages in given], args["relevant"])


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """The score of a pair: the model's output, or how far the logit for relevant lies above the other.

    Args:
        outputs: logits of shape (batch, 1 or 2) as the first element.
        row: the pair's place in the batch.
        encoded: the pairs.
        index: the pair's place among all.

    """
    logits = np.asarray(outputs[0][row], dtype=np.float64)
    if encoded.relevant is None:
        return (float(logits[0]),)
    return (float(logits[encoded.relevant] - logits[1 - encoded.relevant]),)


certainty = sure.unsaid


def answers(
    encoded: Any,
    predictions: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    args: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The ``scores`` of each row's passages, and their ``order``: the places of passages, the best first."""
    found, start = [], 0
    for count in encoded.members:
        scores = [prediction[0] for prediction in predictions[start : start + count]]
        rounded = [round(score, queries.DIGITS) for score in scores]
        found.append({"scores": rounded, "order": queries.order(scores)})
        start += count
    return found

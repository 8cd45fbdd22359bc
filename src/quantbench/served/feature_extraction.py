"""Texts to embeddings: the mean of a text's tokens, or its first or last token, brought to length 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import sure, tokens

USAGE = "a text"
OPTIONAL: tuple[str, ...] = ("secondary",)
"""Fields that a row may have besides."""
DIGITS = 6
"""Of the numbers of an embedding that are kept: float32 has seven."""


@dataclass(frozen=True)
class Encoded:
    """Tokenized texts, one or two per row.

    Attributes:
        inputs: token values by input name; all first texts, then all second ones.
        costs: tokens of each text.
        pooling: how tokens become an embedding.
        seconds: rows that have a second text.

    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    costs: Sequence[int]
    pooling: str
    seconds: Sequence[int]


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has; in a file also ``secondary``, to be compared with it."""
    return ("primary",)


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Tokenize the ``primary`` text of rows, and the ``secondary`` text of those that have one, each by itself.

    Args:
        rows: the texts.
        processor: a ``tokens.Tokens``.
        args: ``pooling``, ``prompt``, which stands before every text, and ``lower``, whether it is put into lower case.

    """
    seconds = [index for index, row in enumerate(rows) if "secondary" in row]
    texts = [row["primary"] for row in rows] + [rows[index]["secondary"] for index in seconds]
    whole = [args["prompt"] + text for text in texts]
    inputs = processor.inputs(processor.encode([text.lower() for text in whole] if args["lower"] else whole))
    return Encoded(inputs, tokens.costs(inputs), args["pooling"], seconds)


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """The embedding, of length 1.

    Args:
        outputs: states of tokens of shape (batch, tokens, width) as the first element.
        row: the text's place in the batch.
        encoded: the texts.
        index: the text's place among all.

    """
    states = outputs[0][row][: encoded.costs[index]]
    pooled = {"cls": lambda: states[0], "lasttoken": lambda: states[-1]}.get(
        encoded.pooling, lambda: states.mean(axis=0)
    )()
    length = float(np.linalg.norm(pooled)) or 1.0
    return tuple(round(float(value), DIGITS) for value in pooled / length)


certainty = sure.unsaid


def answers(
    encoded: Any,
    predictions: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    args: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The ``embedding`` of each row; of two texts both, as ``embeddings``, and the ``cosine`` between them."""
    count = len(predictions) - len(encoded.seconds)
    found: list[dict[str, Any]] = [{"embedding": list(prediction)} for prediction in predictions[:count]]
    for row, second in zip(encoded.seconds, predictions[count:], strict=True):
        first = predictions[row]
        cosine = sum(a * b for a, b in zip(first, second, strict=True))
        found[row] = {"embeddings": [list(first), list(second)], "cosine": round(cosine, DIGITS)}
    return found


def show(answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The embedding as a list of numbers."""
    return str(list(answer["embedding"]))

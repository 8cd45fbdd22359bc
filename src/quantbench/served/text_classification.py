"""Texts, or pairs of texts, to a label, to any number of labels or to a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import sure, tokens

USAGE = "a text; of pairs both texts, one after the other"
OPTIONAL: tuple[str, ...] = ()
"""Fields that a row may have besides."""


@dataclass(frozen=True)
class Encoded:
    """Tokenized texts: token values by input name, tokens of each, and what the outputs are.

    ``kind`` is ``single``, ``sets`` or ``numbers``.
    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    costs: Sequence[int]
    kind: str


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has: one text or two."""
    return ("primary", "secondary") if args["pairs"] else ("primary",)


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Tokenize rows of ``primary`` and, if there are pairs, ``secondary`` texts.

    Args:
        rows: the texts.
        processor: a ``tokens.Tokens``.
        args: ``pairs``, ``kind`` and ``labels``, the model's label names by number.

    """
    others = [row["secondary"] for row in rows] if args["pairs"] else None
    inputs = processor.inputs(processor.encode([row["primary"] for row in rows], others))
    return Encoded(inputs, tokens.costs(inputs), args["kind"])


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """Number of the label, 0 or 1 for every label (those of more than even odds), or the number.

    Args:
        outputs: logits of shape (batch, labels) as the first element.
        row: the text's place in the batch.
        encoded: the texts.
        index: the text's place among them.

    """
    logits = outputs[0][row]
    if encoded.kind == "single":
        return (int(logits.argmax()),)
    if encoded.kind == "sets":
        return tuple(int(value > 0) for value in logits)
    return (float(logits[0]),)


def certainty(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """The share of each label: of all labels where one holds, of itself alone where several may; none of a number."""
    logits = np.asarray(outputs[0][row], dtype=np.float64)
    if encoded.kind == "single":
        return tuple(sure.softmax(logits).tolist())
    return tuple((1 / (1 + np.exp(-logits))).tolist()) if encoded.kind == "sets" else ()


def answers(
    encoded: Any, predictions: Sequence[Sequence[float]], shares: Sequence[Sequence[float]], args: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The answer of each row: ``label`` or ``labels`` with the ``scores`` of labels, or the ``number``."""
    if encoded.kind == "numbers":
        return [{"number": prediction[0]} for prediction in predictions]
    found = []
    for prediction, share in zip(predictions, shares, strict=True):
        names = sure.named(args["labels"], share)
        if encoded.kind == "sets":
            held = [name for name, holds in zip(args["labels"], prediction, strict=True) if holds]
            found.append({"labels": held, "scores": names})
        else:
            label = args["labels"][int(prediction[0])]
            order = sorted(names, key=lambda name, best=label, of=names: (name != best, -of[name]))  # type: ignore[misc]
            found.append({"label": label, "scores": {name: names[name] for name in order[: sure.TOP]}})
    return found


def show(answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The likeliest labels, all labels that hold, or the number."""
    if "number" in answer:
        return f"{answer['number']:.4f}"
    scores = answer["scores"]
    if "label" in answer:
        return sure.shown(scores, list(scores)[: sure.SHOWN])
    if not answer["labels"]:
        nearest = max(scores, key=scores.__getitem__)
        return f"no label holds; the nearest is {sure.shown(scores, [nearest])}"
    return sure.shown(scores, answer["labels"])

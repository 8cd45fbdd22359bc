"""Texts to embeddings, by the modules that stand behind the transformer: pooling at least, see ``modules``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import modules, sure, tokens

USAGE = "a text"
OPTIONAL: tuple[str, ...] = ("secondary",)
"""Fields that a row may have besides."""
TEXT, PROMPT = "text", "_prompt"
"""The kind of a text where there are no others; what follows kinds in the names of their prompts."""
DIGITS = 6
"""Decimals that are kept of the numbers of an embedding of length 1 or more, as float32 has seven digits; of shorter
ones there are more."""


@dataclass(frozen=True)
class Encoded:
    """Tokenized texts, one or two per row.

    Attributes:
        inputs: token values by input name; all first texts, then all second ones.
        costs: tokens of each text.
        head: what makes an embedding of the states of its tokens.
        prompt: tokens in front that some pooling leaves out.
        padded_left: whether padding stands before a text's tokens.
        seconds: rows that have a second text.
        states: the states' place among the model's outputs.

    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    costs: Sequence[int]
    head: modules.Head
    prompt: int
    padded_left: bool
    seconds: Sequence[int]
    states: int


def prompts(args: Mapping[str, Any]) -> dict[str, str]:
    """What stands before a text by what it is: ``text``, or ``query`` and ``passage`` where a search was scored."""
    kinds = [name.removesuffix(PROMPT) for name in args if name.endswith(PROMPT)]
    return {kind: str(args[kind + PROMPT]) for kind in kinds} or {TEXT: str(args.get("prompt", ""))}


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has; in a file also ``secondary``, to be compared with it."""
    return ("primary",)


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Tokenize the ``primary`` text of rows, and the ``secondary`` text of those that have one, each by itself.

    Args:
        rows: the texts.
        processor: a ``sentences.Sentences``.
        args: ``steps``, those of a ``modules.Head``; ``prompt``, which stands before every text; ``states``, the place
            of the states of tokens among the model's outputs, if they are not the first.

    Raises:
        ValueError: if no token of a text is left behind a prompt that is left out.

    """
    seconds = [index for index, row in enumerate(rows) if "secondary" in row]
    texts = [row["primary"] for row in rows] + [rows[index]["secondary"] for index in seconds]
    inputs = processor.inputs(processor.encode([args["prompt"] + text for text in texts]))
    costs = tokens.costs(inputs)
    head = modules.head(args["steps"], processor.folder)
    prompt = processor.leading(args["prompt"]) if modules.leaves_out_prompt(args["steps"]) else 0
    for index, cost in enumerate(costs):
        if cost <= prompt:
            row = [*range(len(rows)), *seconds][index] + 1
            raise ValueError(
                f"row {row} has no token behind the {prompt} of the prompt {args['prompt']!r}, which its embedding "
                "leaves out; set a shorter prompt, or leave the row out"
            )
    return Encoded(inputs, costs, head, prompt, processor.facts.padding_left, seconds, args.get("states", 0))


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """The embedding, with as many digits as float32 has.

    Args:
        outputs: of a batch, states of tokens of shape (batch, tokens, width) among them, or the embeddings themselves
            of shape (batch, width).
        row: the text's place in the batch.
        encoded: the texts.
        index: the text's place among all.

    """
    return embedding(outputs[encoded.states][row], encoded, index, encoded.prompt)


def embedding(padded: np.ndarray[Any, Any], encoded: Any, index: int, prompt: int) -> tuple[float, ...]:
    """The embedding of text ``index``, of whose states, ``padded``, the first ``prompt`` tokens are its prompt's.

    Where ``padded`` is a vector, a model has pooled by itself, and that is the embedding.
    """
    found = padded
    if padded.ndim > 1:
        cost = encoded.costs[index]
        states = padded[len(padded) - cost :] if encoded.padded_left else padded[:cost]
        found = encoded.head.embedding(states, prompt)
    length = float(np.linalg.norm(found))
    decimals = max(DIGITS, DIGITS - round(math.log10(length))) if length else DIGITS
    return tuple(round(float(value), decimals) for value in found)


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
        cosine = float(cosines(np.asarray([first]), np.asarray([second]))[0])
        found[row] = {"embeddings": [list(first), list(second)], "cosine": round(cosine, DIGITS)}
    return found


def cosines(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The cosine between the vectors of each row, both of shape (rows, width); 0 where one has no length."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def show(answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The embedding as a list of numbers."""
    return str(list(answer["embedding"]))

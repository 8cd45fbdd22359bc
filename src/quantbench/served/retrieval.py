"""Queries and passages to embeddings, which ``feature_extraction`` makes, and how near these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import modules, queries, sure, tokens
from .feature_extraction import embedding

USAGE = "a query and a passage"
OPTIONAL: tuple[str, ...] = ()
"""Fields that a row may have besides."""
SIMILARITIES = ("cosine", "dot")
"""How near two embeddings are: the cosine between them, or their product."""

Array = np.ndarray[Any, Any]
show = queries.show


@dataclass(frozen=True)
class Encoded:
    """Tokenized queries, then tokenized passages, each different one once.

    Attributes:
        inputs: token values by input name.
        costs: tokens of each text.
        head: what makes an embedding of the states of its tokens.
        prompts: tokens in front that some pooling leaves out, of queries and of passages.
        padded_left: whether padding stands before a text's tokens.
        queries: how many there are.
        members: the passages of each query, by their numbers, from 0.
        states: the states' place among the model's outputs.

    """

    inputs: Sequence[Mapping[str, Array]]
    costs: Sequence[int]
    head: modules.Head
    prompts: tuple[int, int]
    padded_left: bool
    queries: int
    members: Sequence[Sequence[int]]
    states: int


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has: a query, and a passage or a list of passages."""
    return ("query", "passages")


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Tokenize the ``query`` and the ``passages`` of rows; arguments and errors as of :func:`encode_texts`."""
    known: dict[str, int] = {}
    members = [[known.setdefault(text, len(known)) for text in queries.passages(row)] for row in rows]
    return encode_texts(queries.asked(rows), list(known), members, processor, args)


def encode_texts(
    asked: Sequence[str],
    passages: Sequence[str],
    members: Sequence[Sequence[int]],
    processor: Any,
    args: Mapping[str, Any],
) -> Encoded:
    """Tokenize queries and passages.

    Args:
        asked: the queries.
        passages: all passages.
        members: see :class:`Encoded`.
        processor: a ``sentences.Sentences``.
        args: ``steps``, those of a ``modules.Head``; ``query_prompt`` and ``passage_prompt``, which stand before every
            query and every passage; ``similarity``, one of ``SIMILARITIES``; ``states``, the place of the states of
            tokens among the model's outputs, if they are not the first.

    Raises:
        ValueError: if no token of a text is left behind a prompt that is left out.

    """
    head = modules.head(args["steps"], processor.folder)
    texts = [args["query_prompt"] + text for text in asked] + [args["passage_prompt"] + text for text in passages]
    inputs: list[Mapping[str, Array]] = []
    for start in range(0, len(texts), queries.TOGETHER):
        encoded = processor.encode(texts[start : start + queries.TOGETHER])
        inputs += queries.compact(processor.inputs(encoded))
    costs = tokens.costs(inputs)
    leading = [processor.leading(args[name]) for name in ("query_prompt", "passage_prompt")]
    prompts = (leading[0], leading[1]) if modules.leaves_out_prompt(args["steps"]) else (0, 0)
    left = processor.facts.padding_left
    found = Encoded(inputs, costs, head, prompts, left, len(asked), members, args.get("states", 0))
    for index, cost in enumerate(costs):
        if cost <= prompts[index >= len(asked)]:
            text = [*asked, *passages][index]
            raise ValueError(
                f"the text {text[:40]!r} has no token behind its prompt, which its embedding leaves out; set a shorter "
                "prompt, or leave the text out"
            )
    return found


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """The embedding of a text, as ``feature_extraction.decode`` gives it."""
    return embedding(outputs[encoded.states][row], encoded, index, encoded.prompts[index >= encoded.queries])


certainty = sure.unsaid


def similarities(first: Array, second: Array, kind: str) -> Array:
    """How near vectors are, of shapes (a, width) and (b, width), as an array of shape (a, b)."""
    if kind == "cosine":
        first, second = (
            part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), modules.SMALLEST) for part in (first, second)
        )
    return np.asarray(first @ second.T)


def answers(
    encoded: Any,
    predictions: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    args: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The ``scores`` of each row's passages, their ``order``, and the embeddings of the query and of the passages."""
    found = []
    for number, members in enumerate(encoded.members):
        query = predictions[number]
        passages = [predictions[encoded.queries + member] for member in members]
        near = similarities(np.asarray([query]), np.asarray(passages).reshape(-1, len(query)), args["similarity"])[0]
        found.append(
            {
                "scores": [round(float(score), queries.DIGITS) for score in near],
                "order": queries.order(near),
                "query_embedding": list(query),
                "passage_embeddings": [list(passage) for passage in passages],
            }
        )
    return found

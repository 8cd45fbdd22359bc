"""Words of a text to a label each, and to the entities that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import sure, tokens
from .entities import entities

USAGE = "a text, which is split into words and signs"
OPTIONAL: tuple[str, ...] = ()
"""Fields that a row may have besides."""
OUTSIDE = "O"
CUT_OFF, NO_TOKEN = -1, -2
"""In the place of a label's number, or of a word's token: it lies behind the limit; nothing of it is left."""


@dataclass(frozen=True)
class Encoded:
    """Tokenized sentences.

    Attributes:
        inputs: token values by input name, one mapping per sentence.
        costs: tokens of each sentence.
        first_tokens: of each sentence the place of each word's first token, ``CUT_OFF`` or ``NO_TOKEN``.

    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    costs: Sequence[int]
    first_tokens: Sequence[Sequence[int]]


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has: words, or a text."""
    return ("primary",)


def words_of(row: Mapping[str, Any]) -> list[str]:
    """A row's words; a text is split into them."""
    given = row["primary"]
    return tokens.split(given) if isinstance(given, str) else list(given)


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Tokenize rows of ``primary``, a list of words or a text.

    ``args`` has ``labels``, the model's label names, and their ``scheme``, None where they make no entities.
    """
    sentences = [words_of(row) for row in rows]
    encoded = processor.encode(sentences)
    inputs = processor.inputs(encoded)
    first = [_first_tokens(encoded.word_ids(index), words, processor) for index, words in enumerate(sentences)]
    return Encoded(inputs, tokens.costs(inputs), first)


def _first_tokens(word_ids: Sequence[int | None], words: Sequence[str], processor: Any) -> list[int]:
    first = [CUT_OFF] * len(words)
    for token, word in enumerate(word_ids):
        if word is not None and first[word] < 0:
            first[word] = token
    return [
        NO_TOKEN if token < 0 and not processor.has_token(word) else token
        for token, word in zip(first, words, strict=True)
    ]


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """Label numbers of the words of sentence ``index``; ``CUT_OFF`` or ``NO_TOKEN`` of words that have none.

    Args:
        outputs: logits of shape (batch, tokens, labels) as the first element.
        row: the sentence's place in the batch.
        encoded: the sentences.
        index: the sentence's place among them.

    """
    best = outputs[0][row].argmax(axis=-1)
    return tuple(int(best[token]) if token >= 0 else token for token in encoded.first_tokens[index])


certainty = sure.unsaid


def answers(
    encoded: Any,
    predictions: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    args: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The ``labels`` of each row's words, null of those that have none, and the ``entities`` where labels make them."""
    found: list[dict[str, Any]] = []
    for prediction in predictions:
        labels = [args["labels"][int(number)] if number >= 0 else None for number in prediction]
        answer: dict[str, Any] = {"labels": labels}
        if args["scheme"] is not None:
            answer["entities"] = _chunks(labelled(prediction, args["labels"]), args["scheme"])
        found.append(answer)
    return found


def labelled(prediction: Sequence[float], labels: Sequence[str]) -> dict[int, str]:
    """Labels of the words of a sentence by the words' places, in their order, as entities are read from them.

    A word behind the limit is ``OUTSIDE``; one of which nothing is left is not there, so that it ends no entity.
    """
    numbers = {place: int(number) for place, number in enumerate(prediction) if number != NO_TOKEN}
    return {place: OUTSIDE if number == CUT_OFF else labels[number] for place, number in numbers.items()}


def _chunks(words: Mapping[int, str], scheme: str) -> list[dict[str, Any]]:
    """The entities of labelled words, each with its first and last word's place."""
    places = list(words)
    chunks = sorted(entities([*words.values()], scheme), key=lambda chunk: chunk[1])
    return [{"kind": kind, "first": places[first], "last": places[last]} for kind, first, last in chunks]


def show(answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """A line per entity; where labels make none, a line per word."""
    words = words_of(row)
    if "entities" not in answer:
        return "\n".join(f"{label or '-'}\t{word}" for label, word in zip(answer["labels"], words, strict=True))
    lines = [f"{chunk['kind']}\t{' '.join(words[chunk['first'] : chunk['last'] + 1])}" for chunk in answer["entities"]]
    return "\n".join(lines) or "no entities"

"""Sentences as the numbers that the model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from embedded.corpora import LABELS, Sentence

NO_LABEL = -100


@dataclass(frozen=True)
class Example:
    """One sentence as pieces, with labels on the first piece of each word."""

    ids: list[int]
    labels: list[int]
    words: list[int]


def encode(tokenizer: Any, sentences: Sequence[Sentence], with_labels: bool = True) -> list[Example]:
    """Encode sentences; ``words`` holds the place of each word's first piece."""
    encoded = tokenizer(
        [sentence.tokens for sentence in sentences],
        is_split_into_words=True,
        truncation=True,
        max_length=512,
    )
    examples = []
    for row, sentence in enumerate(sentences):
        ids = list(encoded["input_ids"][row])
        labels = [NO_LABEL] * len(ids)
        first: dict[int, int] = {}
        for place, word in enumerate(encoded.word_ids(row)):
            if word is not None:
                first.setdefault(word, place)
        if with_labels:
            for word, place in first.items():
                labels[place] = LABELS.index(sentence.tags[word])
        words = [first.get(word, -1) for word in range(len(sentence.tokens))]
        examples.append(Example(ids, labels, words))
    return examples


def pad(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack rows of different length."""
    width = max(len(row) for row in rows)
    return torch.tensor([list(row) + [value] * (width - len(row)) for row in rows])

"""Scores of a model on sentences."""

from dataclasses import dataclass
from typing import Any

import torch
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

from embedded.corpora import LABELS, Sentence
from embedded.encoding import Example, encode, pad


@dataclass(frozen=True)
class Scores:
    """Entity-level scores (seqeval, default mode) and accuracy over words."""

    precision: float
    recall: float
    f1: float
    accuracy: float


@torch.inference_mode()
def predict(model: Any, examples: list[Example], size: int = 64) -> list[list[str]]:
    """Predict one tag per word; words beyond the length limit get O."""
    model.eval()
    tags: list[list[str]] = [[] for _ in examples]
    order = sorted(range(len(examples)), key=lambda row: len(examples[row].ids))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        ids = pad([examples[row].ids for row in rows], 0)
        logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
        for row, best in zip(rows, logits.argmax(-1).tolist(), strict=True):
            places = examples[row].words
            tags[row] = [LABELS[best[p]] if p >= 0 else "O" for p in places]
    return tags


def measure(model: Any, tokenizer: Any, sentences: list[Sentence]) -> Scores:
    """Score a model with seqeval's default mode."""
    predicted = predict(model, encode(tokenizer, sentences, with_labels=False))
    gold = [sentence.tags for sentence in sentences]
    return Scores(
        precision=float(precision_score(gold, predicted)),
        recall=float(recall_score(gold, predicted)),
        f1=float(f1_score(gold, predicted)),
        accuracy=float(accuracy_score(gold, predicted)),
    )

"""Tiny models that were trained on a few examples until they are right on all of them, so that scores are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Features
from tests.support.tiny_models import tiny_vocabulary
from tests.support.tiny_tasks import WORDS
from transformers import DistilBertConfig, DistilBertTokenizerFast

STEPS = 400


def tiny_config(labels: Sequence[str] = (), **changes: Any) -> DistilBertConfig:
    """Configuration of a DistilBERT of two layers of 32, over the vocabulary of :func:`tiny_tokenizer`."""
    sizes = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128}
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}} if labels else {}
    still = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    return DistilBertConfig(vocab_size=len(tiny_vocabulary(WORDS)), **{**sizes, **still, **names, **changes})


def tiny_tokenizer(limit: int = 128) -> DistilBertTokenizerFast:
    """A tokenizer with a token for every one of ``WORDS``."""
    return DistilBertTokenizerFast(vocab=tiny_vocabulary(WORDS), do_lower_case=False, model_max_length=limit)


def fit(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    loss: Callable[[Any], torch.Tensor],
    done: Callable[[Any], bool],
    steps: int = STEPS,
) -> None:
    """Train by Adam on one batch until ``done`` holds of the outputs.

    Raises:
        AssertionError: if it does not after ``steps``.

    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of several, each step of so small a model waits for the slowest
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        model.train()
        for _ in range(steps):
            outputs = model(**inputs)
            if done(outputs):
                break
            optimizer.zero_grad()
            loss(outputs).backward()
            optimizer.step()
    torch.set_num_threads(threads)
    model.eval()
    with torch.inference_mode():
        assert done(model(**inputs)), "not fitted"


def fit_labels(model: Any, tokenizer: Any, texts: Sequence[Any], labels: Sequence[int]) -> None:
    """Train a classifier of texts, or of pairs as tuples, until it is right on all, by a margin of 2."""
    wanted = torch.tensor(labels)

    def sure(outputs: Any) -> bool:
        right = outputs.logits.gather(1, wanted[:, None])
        others = outputs.logits.scatter(1, wanted[:, None], -torch.inf)
        return bool((right - others > 2).all())

    fit(model, _encoded(tokenizer, texts), lambda o: torch.nn.functional.cross_entropy(o.logits, wanted), sure)


def fit_sets(model: Any, tokenizer: Any, texts: Sequence[Any], matrix: Sequence[Sequence[int]]) -> None:
    """Train a classifier of any number of labels until it is right on all, by a margin of 1."""
    wanted = torch.tensor(matrix, dtype=torch.float32)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    signs = 2 * wanted - 1
    fit(
        model,
        _encoded(tokenizer, texts),
        lambda outputs: entropy(outputs.logits, wanted),
        lambda outputs: bool((outputs.logits * signs > 1).all()),
    )


def fit_tags(model: Any, tokenizer: Any, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[int]]) -> None:
    """Train a tagger of words until it is right on the first token of every word, by a margin of 1."""
    encoded = tokenizer([list(words) for words in sentences], is_split_into_words=True, padding=True)
    wanted = torch.full((len(sentences), len(encoded["input_ids"][0])), -100)
    for row, numbers in enumerate(tags):
        seen: set[int] = set()
        for token, word in enumerate(encoded.word_ids(row)):
            if word is not None and word not in seen:
                wanted[row, token] = numbers[word]
                seen.add(word)
    inputs = {name: torch.tensor(values) for name, values in encoded.items()}
    counted = wanted >= 0

    def sure(outputs: Any) -> bool:
        right = outputs.logits.gather(2, wanted.clamp(min=0)[..., None])[..., 0]
        others = outputs.logits.scatter(2, wanted.clamp(min=0)[..., None], -torch.inf).amax(-1)
        return bool((right - others > 1)[counted].all())

    fit(
        model,
        inputs,
        lambda outputs: torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), wanted.flatten()),
        sure,
    )


def fit_spans(model: Any, inputs: Mapping[str, torch.Tensor], starts: torch.Tensor, ends: torch.Tensor) -> None:
    """Train a model of question answering until it is right on both ends of every answer, by a margin of 1."""
    wanted = {"start_logits": starts[:, None], "end_logits": ends[:, None]}
    entropy = torch.nn.functional.cross_entropy

    def sure(outputs: Any) -> bool:
        margins = [
            outputs[name].gather(1, places) - outputs[name].scatter(1, places, -torch.inf).amax(1, keepdim=True)
            for name, places in wanted.items()
        ]
        return bool((torch.cat(margins) > 1).all())

    fit(
        model,
        inputs,
        lambda outputs: entropy(outputs.start_logits, starts) + entropy(outputs.end_logits, ends),
        sure,
        steps=1500,
    )


def _encoded(tokenizer: Any, texts: Sequence[Any]) -> dict[str, torch.Tensor]:
    pairs = isinstance(texts[0], tuple)
    columns = [[text[place] for text in texts] for place in (0, 1)] if pairs else [list(texts)]
    return dict(tokenizer(*columns, padding=True, truncation=True, return_tensors="pt"))


def save(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Write model and tokenizer to a folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_splits(folder: Path, rows: Sequence[Mapping[str, Any]], features: Features | None = None) -> Path:
    """Write the same rows as ``train.parquet`` and ``validation.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        Dataset.from_list([dict(row) for row in rows], features=features).to_parquet(folder / f"{split}.parquet")
    return folder

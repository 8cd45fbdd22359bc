"""Builders of a tiny model and a tiny data set in the formats of their real counterparts."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from transformers import (
    DistilBertConfig,
    DistilBertForTokenClassification,
    DistilBertTokenizerFast,
)

CONLL_LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
SPLITS = ("train", "validation", "test")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SENTENCES = (
    "Maria/B-PER Lopez/I-PER lives/O in/O Lisbon/B-LOC ./O",
    "The/O World/B-ORG Bank/I-ORG opened/O an/O office/O in/O New/B-LOC York/I-LOC ./O",
    "Peter/B-PER won/O the/O Davis/B-MISC Cup/I-MISC in/O 1996/O ./O",
    "Shares/O of/O Acme/B-ORG fell/O ./O",
    "A/O Dutch/B-MISC team/O met/O Anna/B-PER Berg/I-PER of/O Volvo/B-ORG ./O",
)


def tiny_vocabulary(words: Iterable[str] = ()) -> dict[str, int]:
    """Return a WordPiece vocabulary that spells any ASCII text, with some whole words."""
    alphabet = string.ascii_letters + string.digits
    pieces = [
        *_SPECIAL,
        *alphabet,
        *string.punctuation,
        *(f"##{char}" for char in alphabet),
        *words,
    ]
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}


def write_tiny_distilbert(folder: Path, labels: Sequence[str], words: Iterable[str] = (), seed: int = 0) -> Path:
    """Save a random DistilBERT for token classification and its fast tokenizer to ``folder``.

    The weights follow from ``seed`` and are stored as safetensors.
    """
    vocabulary = tiny_vocabulary(words)
    config = DistilBertConfig(
        vocab_size=len(vocabulary),
        dim=32,
        hidden_dim=64,
        n_layers=2,
        n_heads=4,
        max_position_embeddings=128,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DistilBertForTokenClassification(config)
    model.save_pretrained(folder)
    tokenizer = DistilBertTokenizerFast(vocab=vocabulary, do_lower_case=True, model_max_length=128)
    tokenizer.save_pretrained(folder)
    return folder


def conll_features() -> Features:
    """Return the columns of CoNLL-2003 that named-entity recognition uses."""
    ner_tags = List(ClassLabel(names=list(CONLL_LABELS)))
    return Features({"id": Value("string"), "tokens": List(Value("string")), "ner_tags": ner_tags})


def _conll_rows(n: int, skip: int) -> Iterator[dict[str, object]]:
    """Yield ``n`` rows whose sentences go round a fixed list, from its entry ``skip`` on."""
    sentences = islice(cycle(_SENTENCES), skip, skip + n)
    for index, sentence in enumerate(sentences):
        words = [word.rpartition("/") for word in sentence.split()]
        tags = [CONLL_LABELS.index(tag) for _, _, tag in words]
        yield {"id": str(index), "tokens": [token for token, _, _ in words], "ner_tags": tags}


def write_conll_parquet(folder: Path, n: int, config: str = "conll2003") -> Path:
    """Write three splits of ``n`` rows as the Hub's Parquet conversion lays them out.

    The files are ``<config>/<split>/0000.parquet`` below ``folder``.
    """
    for skip, split in enumerate(SPLITS):
        path = folder / config / split / "0000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = list(_conll_rows(n, skip))
        Dataset.from_list(rows, features=conll_features()).to_parquet(path)
    return folder

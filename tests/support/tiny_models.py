"""Builders of a tiny model and a tiny data set in the formats of their real counterparts."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import onnx
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from onnx import TensorProto, helper
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    DistilBertConfig,
    DistilBertForTokenClassification,
    DistilBertTokenizerFast,
)

from quantbench.schema.results import ArmSpec
from quantbench.sources.export import write_export
from quantbench.system.files import file_sha256

CONLL_LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
SPLITS = ("train", "validation", "test")
TOKEN_OUTPUTS = {"logits": {0: "batch_size", 1: "sequence_length"}}
"""Of a model for token classification."""
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


def write_tiny_distilbert(
    folder: Path, labels: Sequence[str], words: Iterable[str] = (), seed: int = 0, activation: str = "gelu"
) -> Path:
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
        activation=activation,
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


_SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def write_tiny_encoder(folder: Path, kind: str, labels: int = 5, seed: int = 0, **changes: object) -> Path:
    """Save a random two-layer encoder for token classification to ``folder``, without a tokenizer.

    ``kind`` is a model type of transformers (``bert``, ``distilbert``, ``roberta``, ``electra``, …); ``changes`` are
    fields of its configuration. Biases and weights of normalizations are drawn too, so that none of them is neutral.
    """
    config = AutoConfig.for_model(kind, **{**_SIZES, "num_labels": labels, **changes})
    if kind == "distilbert":
        config.hidden_dim = config.intermediate_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForTokenClassification.from_config(config)
        for weight in model.parameters():
            weight.data += 0.2 * torch.randn_like(weight)
    model.save_pretrained(folder)
    return folder


def tiny_inputs(batch: int, length: int, seed: int = 0, padded: bool = False) -> dict[str, np.ndarray]:
    """Return random inputs of tiny encoders; with ``padded`` the rows end in padding, each a bit earlier."""
    ids = np.random.default_rng(seed).integers(5, _SIZES["vocab_size"], (batch, length))
    mask = np.ones_like(ids)
    if padded:
        for row in range(batch):
            mask[row, max(1, length - 1 - row) :] = 0
    return {
        "input_ids": np.where(mask, ids, 1),  # 1 is the padding of RoBERTa, which derives positions from it
        "token_type_ids": np.zeros_like(ids),
        "attention_mask": mask,
    }


def token_classifier(folder: Path) -> ArmSpec:
    """Return the PyTorch arm of a saved token-classification model."""
    options = {"auto_class": "AutoModelForTokenClassification"}
    return ArmSpec(runtime="pytorch", path=str(folder), sha256="", options=options)


def export_tiny_encoder(folder: Path, kind: str, opset: int, **changes: object) -> Path:
    """Export a random encoder of :func:`write_tiny_encoder` to ``folder`` / ``model.onnx``."""
    spec = token_classifier(write_tiny_encoder(folder / "checkpoint", kind, **changes))
    write_export(spec, opset, tiny_inputs(2, 8), TOKEN_OUTPUTS, folder / "model.onnx")
    return folder / "model.onnx"


def write_relu(path: Path) -> ArmSpec:
    """Write an ONNX file of one node, which maps x of any shape (rows, columns) to y; return its arm."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return ArmSpec(runtime="onnxruntime", path=str(path), sha256=file_sha256(path), options={"optimization_level": 99})

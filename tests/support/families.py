"""A tiny random model of every family of encoders, with tokenizer or image processor and data, all from files."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, List, Value
from tests.support.tiny_models import write_tiny_encoder
from tests.support.tiny_tasks import WORDS, write_images
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
LABELS = ("O", "B-PER", "B-LOC", "B-ORG", "B-MISC")


@dataclass(frozen=True)
class Family:
    """A kind of encoder.

    Attributes:
        model_type: of transformers.
        changes: fields of its configuration.
        special: its special tokens, at the numbers that they have.
        segments: whether its tokenizer gives ``token_type_ids``.
        opset: the lowest that expresses it.
        products: with constant weights, in a layer.

    """

    model_type: str
    changes: dict[str, Any] = field(default_factory=dict)
    special: tuple[str, ...] = BERT
    segments: bool = False
    opset: int = 11
    products: int = 6


# Relative positions need bounds of whole numbers, which ONNX Runtime knows since opset 12.
_BOUNDS = 12
_DEBERTA = {"relative_attention": True, "type_vocab_size": 0, "position_biased_input": False}
_V3 = {
    **_DEBERTA,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
}
_V2 = {**_V3, "conv_kernel_size": 3, "conv_act": "gelu"}
_MODERNBERT = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
FAMILIES = {
    "BERT": Family("bert", segments=True),
    "DistilBERT": Family("distilbert"),
    "RoBERTa": Family("roberta", {"type_vocab_size": 1}, special=ROBERTA),
    "XLM-R": Family("xlm-roberta", {"type_vocab_size": 1}, special=ROBERTA),
    "ELECTRA": Family("electra", {"embedding_size": 16}, segments=True),
    "ALBERT": Family("albert", {"embedding_size": 16}, segments=True),
    "MPNet": Family("mpnet", special=ROBERTA, opset=_BOUNDS),
    "DeBERTa": Family(
        "deberta", {**_DEBERTA, "pos_att_type": ["c2p", "p2c"]}, segments=True, opset=_BOUNDS, products=4
    ),
    "DeBERTa-v2": Family("deberta-v2", _V2, segments=True, opset=_BOUNDS),
    "DeBERTa-v3": Family("deberta-v2", _V3, segments=True, opset=_BOUNDS),
    "ModernBERT": Family("modernbert", {**_MODERNBERT, "local_attention": 8}, products=4),
    "ViT": Family("vit"),
}


def write_family(name: str, root: Path, layers: int = 2, count: int = 24) -> dict[str, Any]:
    """Write ``model`` and ``data``; the settings that name them."""
    family = FAMILIES[name]
    if family.model_type == "vit":
        settings = write_images(root, count=count, num_hidden_layers=layers)
        return {key: settings[key] for key in ("task", "model_name_or_path", "dataset")}
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: n for n, label in enumerate(LABELS)}}
    write_tiny_encoder(
        root / "model", family.model_type, len(LABELS), num_hidden_layers=layers, **family.changes, **names
    )
    _tokenizer(family).save_pretrained(root / "model")
    _write_data(root / "data", count)
    return {
        "task": "token-classification",
        "model_name_or_path": str(root / "model"),
        "dataset": {
            "path": str(root / "data"),
            "calibration_split": "train",
            "data_keys": {"primary": "tokens"},
            "ref_keys": ["ner_tags"],
        },
    }


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """Words as tokens, special tokens at the numbers that the family gives them."""
    tokens = [*family.special, *WORDS]
    named = {token.strip("[]<>/").lower() if token != "</s>" else "sep": token for token in family.special}
    begin, end = named.get("cls", named.get("s", "")), named["sep"]
    raw = Tokenizer(models.WordLevel({token: n for n, token in enumerate(tokens)}, unk_token=named["unk"]))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(begin, tokens.index(begin)), (end, tokens.index(end))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=named["pad"],
        unk_token=named["unk"],
        cls_token=begin,
        sep_token=end,
        mask_token=named["mask"],
        model_input_names=["input_ids", *(["token_type_ids"] if family.segments else []), "attention_mask"],
    )


def _write_data(folder: Path, count: int) -> None:
    generator = random.Random(0)
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=list(LABELS)))})
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        rows = []
        for _ in range(count):
            words = [generator.choice(WORDS) for _ in range(generator.randint(3, 30))]
            rows.append({"tokens": words, "ner_tags": [generator.randrange(len(LABELS)) for _ in words]})
        Dataset.from_list(rows, features=features).to_parquet(folder / f"{split}.parquet")

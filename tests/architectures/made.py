"""A tiny random model of an architecture with tokenizer or image processor and data, all as files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as Pictures
from tests.architectures.listed import EMBEDDING, ENCODER_SIZES, IMAGE, TEXT, TOKENS, Architecture
from tests.support.tiny_tasks import WORDS
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast, ViTImageProcessor

LABELS = {TEXT: ("sport", "money", "weather"), TOKENS: ("O", "B-PER", "B-LOC"), IMAGE: ("red", "green", "blue")}
AUTO_CLASSES = {
    TEXT: "AutoModelForSequenceClassification",
    TOKENS: "AutoModelForTokenClassification",
    EMBEDDING: "AutoModel",
    IMAGE: "AutoModelForImageClassification",
}
SHORTEST, LONGEST = 3, 30
"""Words of a text."""


def write(architecture: Architecture, root: Path, count: int = 24) -> dict[str, Any]:
    """Write ``model`` and ``data``; the settings that name them."""
    module(architecture).save_pretrained(root / "model")
    if architecture.task == IMAGE:
        side = {"height": architecture.size, "width": architecture.size}
        ViTImageProcessor(size=side).save_pretrained(root / "model")
    elif architecture.tokenizer:
        getattr(transformers, architecture.tokenizer)().save_pretrained(root / "model")
    else:
        tokenizer(architecture.special, architecture.padding).save_pretrained(root / "model")
    keys = _write_data(architecture, root / "data", count)
    dataset = {"path": str(root / "data"), "calibration_split": "train", **keys}
    return {"task": architecture.task, "model_name_or_path": str(root / "model"), "dataset": dataset}


def module(architecture: Architecture) -> Any:
    """The model, drawn; biases and weights of normalizations are drawn too, so that none of them is neutral."""
    names = LABELS.get(architecture.task, ())
    usual = {"image_size": architecture.size} if architecture.task == IMAGE else ENCODER_SIZES
    sizes = {name: value for name, value in usual.items() if name not in architecture.without}
    labels = (
        {"id2label": dict(enumerate(names)), "label2id": {name: n for n, name in enumerate(names)}} if names else {}
    )
    config = AutoConfig.for_model(architecture.model_type, **{**sizes, **labels, **architecture.changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if architecture.model_class:
            made = getattr(transformers, architecture.model_class)(config)
        else:
            made = getattr(transformers, AUTO_CLASSES[architecture.task]).from_config(config)
        for weight in made.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    return made.eval()


def tokenizer(special: tuple[str, ...], padding: str) -> PreTrainedTokenizerFast:
    """Words as tokens, special ones at the numbers that they have."""
    tokens = [*special, *WORDS]
    named = {token.strip("[]<>/|").lower() if token != "</s>" else "sep": token for token in special}
    raw = Tokenizer(models.WordLevel({token: n for n, token in enumerate(tokens)}, unk_token=named["unk"]))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    begin, end = named.get("cls", named.get("s")), named.get("sep")
    if begin and end:
        raw.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}",
            pair=f"{begin} $A {end} $B {end}",
            special_tokens=[(token, tokens.index(token)) for token in (begin, end)],
        )
    there = {"pad": "pad_token", "mask": "mask_token", "unk": "unk_token", "endoftext": "eos_token"}
    known = {key: named[name] for name, key in there.items() if name in named}
    if begin and end:
        known |= {"cls_token": begin, "sep_token": end}
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, padding_side=padding, model_input_names=names, **known)


def _write_data(architecture: Architecture, folder: Path, count: int) -> dict[str, Any]:
    """Write two splits; the columns of the data set."""
    generator, drawn = random.Random(0), np.random.default_rng(0)
    folder.mkdir(parents=True)
    task, one = architecture.task, ClassLabel(names=list(LABELS.get(architecture.task, "-")))
    features = {
        TEXT: {"text": Value("string"), "label": one},
        TOKENS: {"text": List(Value("string")), "label": List(one)},
        EMBEDDING: {"text": Value("string")},
        IMAGE: {"image": Image(), "label": one},
    }[task]
    for split in ("train", "validation"):
        rows = []
        for _ in range(count):
            words = [generator.choice(WORDS) for _ in range(generator.randint(SHORTEST, LONGEST))]
            if task == IMAGE:
                pixels = drawn.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                rows.append({"image": Pictures.fromarray(pixels), "label": generator.randrange(one.num_classes)})
            elif task == TOKENS:
                rows.append({"text": words, "label": [generator.randrange(one.num_classes) for _ in words]})
            else:
                row = {"text": " ".join(words), "label": generator.randrange(one.num_classes)}
                rows.append({key: row[key] for key in features})
        Dataset.from_list(rows, features=Features(features)).to_parquet(folder / f"{split}.parquet")
    primary, *refs = features
    return {"data_keys": {"primary": primary}, "ref_keys": refs}

"""A tiny random model and some examples for every task, in the formats of their real counterparts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as Pictures
from tests.support.tiny_models import tiny_vocabulary
from transformers import (
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

TOPICS = ("sport", "money", "weather")
COLOURS = ("red", "green", "blue", "yellow", "white", "black")
WORDS = (
    "the",
    "a",
    "match",
    "bank",
    "rain",
    "team",
    "won",
    "lost",
    "fell",
    "over",
    "Lisbon",
    "Oslo",
    "Anna",
    "1996",
    ".",
)


def _text(generator: random.Random, words: int) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(words))


def _save(model_class: Any, folder: Path, **changes: Any) -> None:
    vocabulary = tiny_vocabulary()
    sizes = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128}
    config = DistilBertConfig(vocab_size=len(vocabulary), **{**sizes, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(config)
        with torch.no_grad():  # so that predictions differ between examples
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
    model.save_pretrained(folder)
    DistilBertTokenizerFast(vocab=vocabulary, model_max_length=128).save_pretrained(folder)


def _names(labels: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {name: number for number, name in enumerate(labels)}}


def write_texts(root: Path, kind: str = "single", pairs: bool = False, count: int = 40) -> dict[str, Any]:
    """Model and data of text classification; the settings that name them.

    Args:
        root: folder to write to.
        kind: ``single``, ``sets`` or ``numbers``.
        pairs: whether an example is two texts.
        count: examples of a split.

    """
    generator = random.Random(0)
    longest = 8 if pairs else 30
    labels = ("LABEL_0",) if kind == "numbers" else TOPICS
    _save(DistilBertForSequenceClassification, root / "model", **_names(labels))
    draw = {
        "single": lambda: generator.randrange(len(TOPICS)),
        "sets": lambda: [number for number in range(len(TOPICS)) if generator.random() < 0.5],
        "numbers": lambda: generator.uniform(0, 5),
    }[kind]
    one = ClassLabel(names=list(TOPICS))
    feature = {"single": one, "sets": List(one), "numbers": Value("float32")}[kind]
    keys = {"primary": "text", **({"secondary": "other"} if pairs else {})}
    features = Features({**{column: Value("string") for column in keys.values()}, "label": feature})
    for split in ("train", "validation"):
        rows = [
            {**{column: _text(generator, generator.randint(3, longest)) for column in keys.values()}, "label": draw()}
            for _ in range(count)
        ]
        _write(rows, features, root, split)
    args = {"single": {}, "sets": {"is_multi_label": True}, "numbers": {"is_regression": True}}[kind]
    return _settings(root, "text-classification", keys, "label", task_args=args)


def write_questions(root: Path, count: int = 40, unanswerable: bool = False) -> dict[str, Any]:
    """Model and data of question answering, with contexts longer than a window; the settings that name them."""
    generator = random.Random(0)
    _save(DistilBertForQuestionAnswering, root / "model")
    answers = {"text": List(Value("string")), "answer_start": List(Value("int32"))}
    features = Features({"question": Value("string"), "context": Value("string"), "answers": answers})
    for split in ("train", "validation"):
        rows = []
        for number in range(count):
            context = _text(generator, generator.randint(5, 70))
            start = context.index(" ") + 1
            text = context[start:].split(" ")[0]
            none = unanswerable and number % 3 == 0
            found = {"text": [], "answer_start": []} if none else {"text": [text], "answer_start": [start]}
            rows.append({"question": _text(generator, 5) + " ?", "context": context, "answers": found})
        _write(rows, features, root, split)
    args = {"max_seq_len": 64, "doc_stride": 16, **({"handle_impossible": True} if unanswerable else {})}
    keys = {"question": "question", "context": "context"}
    return _settings(root, "question-answering", keys, "answers", task_args=args)


def write_images(root: Path, count: int = 40, **changes: Any) -> dict[str, Any]:
    """Model and data of image classification; the settings that name them."""
    generator = np.random.default_rng(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = ViTConfig(**{**sizes, **changes}, image_size=32, patch_size=8, **_names(COLOURS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ViTForImageClassification(config)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(root / "model")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "model")
    features = Features({"image": Image(), "label": ClassLabel(names=list(COLOURS))})
    for split in ("train", "validation"):
        pixels = generator.integers(0, 256, (count, 20, 24, 3), dtype=np.uint8)
        rows = [
            {"image": Pictures.fromarray(picture), "label": int(generator.integers(len(COLOURS)))} for picture in pixels
        ]
        _write(rows, features, root, split)
    return _settings(root, "image-classification", {"primary": "image"}, "label", input_lengths=None)


def _write(rows: list[dict[str, Any]], features: Features, root: Path, split: str) -> None:
    (root / "data").mkdir(exist_ok=True, parents=True)
    Dataset.from_list(rows, features=features).to_parquet(root / "data" / f"{split}.parquet")


def _settings(root: Path, task: str, keys: dict[str, str], ref: str, **changes: Any) -> dict[str, Any]:
    dataset = {"path": str(root / "data"), "calibration_split": "train", "data_keys": keys, "ref_keys": [ref]}
    data = {
        "task": task,
        "model_name_or_path": str(root / "model"),
        "dataset": dataset,
        "quantization_approach": "static",
        "calibration": {"num_calibration_samples": 8},
        "batch_sizes": [2],
        "input_lengths": [16],
        "time_benchmark_args": {"duration": 0.2, "warmup_runs": 1, "precision": 0.9},
        **changes,
    }
    return {key: value for key, value in data.items() if value is not None}


TASKS = {
    "text-classification": write_texts,
    "question-answering": write_questions,
    "image-classification": write_images,
}


if __name__ == "__main__":  # what scripts/pipeline_answers.py answers
    import sys

    write_questions(Path(sys.argv[1]), count=500)

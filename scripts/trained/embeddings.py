"""Feature extraction: the encoder as it is, and pairs of questions to a bank of one intent or of two (banking77)."""

import csv
import random
from pathlib import Path

from datasets import Dataset, Features, Value
from transformers import AutoModel, AutoTokenizer

from trained.fitting import SEED, encoder_folder, save, write_splits

PAIRS = 1000


def pairs(corpus: Path, split: str) -> Dataset:
    """As many pairs of texts of one intent (similarity 1) as of two (0)."""
    generator = random.Random(SEED)
    with (corpus / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        texts = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    by_intent: dict[str, list[str]] = {}
    for text, intent in texts:
        by_intent.setdefault(intent, []).append(text)
    rows = []
    for number in range(PAIRS):
        text, intent = generator.choice(texts)
        alike = number % 2 == 0
        other = intent if alike else generator.choice(sorted(set(by_intent) - {intent}))
        second = generator.choice([candidate for candidate in by_intent[other] if candidate != text])
        rows.append({"first": text, "second": second, "similarity": float(alike)})
    features = Features({"first": Value("string"), "second": Value("string"), "similarity": Value("float32")})
    return Dataset.from_list(rows, features=features)


def build(corpora: Path, folder: Path) -> None:
    """Write model and data."""
    write_splits(folder / "data", {split: pairs(corpora / "banking77", split) for split in ("train", "test")})
    model = AutoModel.from_pretrained(encoder_folder(), add_pooling_layer=False)
    save(model, AutoTokenizer.from_pretrained(encoder_folder()), folder / "model")

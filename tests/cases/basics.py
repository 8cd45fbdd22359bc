"""Inputs as the documentation describes them."""

from __future__ import annotations

from pathlib import Path

from datasets import ClassLabel, Features, Value
from tests.cases.case import Case, Refused, Right, case
from tests.support.fitted import fit_labels, save, tiny_config, tiny_tokenizer, write_splits
from tests.support.tiny_tasks import TOPICS
from transformers import DistilBertForSequenceClassification

TEXTS = (
    "the team won .",
    "rain fell",
    "a bank lost",
    "the match",
    "Oslo",
    "Anna won 1996",
    "the bank",
    "team over rain",
)
NUMBERS = (0, 2, 1, 0, 2, 0, 1, 2)


def _topics(folder: Path) -> dict[str, object]:
    model, tokenizer = DistilBertForSequenceClassification(tiny_config(TOPICS)), tiny_tokenizer()
    fit_labels(model, tokenizer, TEXTS, NUMBERS)
    save(model, tokenizer, folder / "model")
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(TOPICS))})
    rows = [{"text": text, "label": number} for text, number in zip(TEXTS, NUMBERS, strict=True)]
    write_splits(folder / "data", rows, features)
    return {
        "task": "text-classification",
        "model_name_or_path": str(folder / "model"),
        "dataset": {"path": str(folder / "data"), "data_keys": {"primary": "text"}, "ref_keys": ["label"]},
    }


@case("texts with a class by number", "planted: the model was fitted until it is right")
def classes_by_number(folder: Path) -> Case:
    return Case(_topics(folder), Right({"accuracy": 1.0, "f1_macro": 1.0}, examples=8, quiet=True))


@case("a column that is not there", "planted")
def no_such_column(folder: Path) -> Case:
    settings = _topics(folder)
    dataset = {**settings["dataset"], "data_keys": {"primary": "sentence"}}  # type: ignore[dict-item]
    return Case({**settings, "dataset": dataset}, Refused("dataset.data_keys", ["no column 'sentence'", "text, label"]))

"""Labels and columns as people write them: many of them, in any order, under any name and in any spelling."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import accuracy_score
from tests.cases.case import Answer, Case, Refused, Right, case
from tests.cases.data import LABELS
from tests.cases.labels import MATRIX, NUMBERS, SENTENCES, TEXTS, TOPICS, classes, sets, settings, tags
from tests.support.fitted import save, tiny_config, tiny_tokenizer
from transformers import DistilBertForSequenceClassification

import quantbench as qb
from quantbench.schema.settings import Dataset as Source
from quantbench.schema.settings import Sources
from quantbench.sources.datasets import load_split
from quantbench.tasks import text_classification

PLANTED = "planted"
PLAIN = ("O", "PER", "LOC")
WORDS = (("PER", "O", "O"), ("O", "O", "O", "O", "LOC", "LOC"), ("O", "O", "O"), ("LOC", "LOC", "O"))


def _csv(folder: Path, header: str, rows: Sequence[str], name: str = "a.csv") -> Path:
    file = folder / name
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def _labelled(folder: Path, labels: Sequence[object], right: Refused, **dataset: Any) -> Case:
    """A CSV file of texts with these labels."""
    file = _csv(folder, "text,label", [f"{text},{label}" for text, label in zip(TEXTS, labels, strict=True)])
    return Case(settings(folder, classes(), path=str(file), eval_split="train", **dataset), right)


def _read(file: Path, names: Sequence[str], right: Sequence[int | None] = NUMBERS, **dataset: Any) -> Answer:
    """The number of the model's label of each row of a file."""
    given = Source(**{"path": str(file), "data_keys": {"primary": "text"}, "ref_keys": ("label",), **dataset})
    sources = Sources(task="text-classification", model_name_or_path="-", dataset=given)
    found = text_classification.references(sources, load_split(given, "train", "dataset.eval_split"), names)
    missing = sum(number is None for number in right)
    told = f"{len(right) - missing} labels, each the model's of that name" + f"; {missing} rows without one" * (
        missing > 0
    )
    return Answer(list(found), list(right), told)


def _in_csv(folder: Path, labels: Sequence[object], names: Sequence[str] = TOPICS, **rest: Any) -> Answer:
    file = _csv(folder, "text,label", [f"{text},{label}" for text, label in zip(TEXTS, labels, strict=True)])
    return _read(file, names, **rest)


def _in_json(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file = folder / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def _decided(model: str | Path, file: Path, told: str, right: Sequence[Any], **options: Any) -> Answer:
    """Columns of texts and of references that are decided in one line."""
    dataset = qb.decide(model, file, **options).config.base.dataset
    return Answer([dict(dataset.data_keys), *dataset.ref_keys], list(right), told)


@case("labels with blanks in them", PLANTED)
def blanks(folder: Path) -> Answer:
    names = ("very good", "not so good", "bad")
    return _in_csv(folder, [names[number] for number in NUMBERS], names)


@case("labels in other scripts", PLANTED)
def scripts(folder: Path) -> Answer:
    names = ("мир", "お金", "möglich")
    return _in_csv(folder, [names[number] for number in NUMBERS], names)


@case("labels 0.0, 1.0 and 2.0 in a CSV", PLANTED)
def floats(folder: Path) -> Answer:
    return _in_csv(folder, [float(number) for number in NUMBERS], label_names=TOPICS)


@case("labels -100 in some rows of a CSV", PLANTED)
def ignored(folder: Path) -> Answer:
    return _in_csv(folder, [-100, *NUMBERS[1:]], right=[None, *NUMBERS[1:]], label_names=TOPICS)


@case("labels true and false in a CSV for a model of True and False", PLANTED)
def truths(folder: Path) -> Answer:
    bits = [number % 2 for number in NUMBERS]
    return _in_csv(folder, [str(bool(bit)).lower() for bit in bits], ("False", "True"), right=bits)


@case("labels yes and no in a CSV", PLANTED)
def yes_and_no(folder: Path) -> Answer:
    bits = [number % 2 for number in NUMBERS]
    return _in_csv(folder, [("no", "yes")[bit] for bit in bits], ("no", "yes"), right=bits)


@case("numbers written as texts, with dataset.label_names", PLANTED)
def written_numbers(folder: Path) -> Answer:
    rows = [{"text": text, "label": str(number)} for text, number in zip(TEXTS, NUMBERS, strict=True)]
    return _read(_in_json(folder, rows), TOPICS, label_names=TOPICS)


@case("null for a label in JSON where a class is called null", PLANTED)
def json_null(folder: Path) -> Answer:
    names: tuple[str, ...] = ("null", "money", "weather")
    rows: list[dict[str, Any]] = [{"text": a, "label": names[n]} for a, n in zip(TEXTS, NUMBERS, strict=True)]
    rows[2]["label"] = None
    return _read(_in_json(folder, rows), names, [*NUMBERS[:2], None, *NUMBERS[3:]])


@case("a label that is a field of a record", PLANTED)
def label_of_record(folder: Path) -> Answer:
    rows = [{"text": text, "gold": {"name": label}} for text, label in zip(TEXTS, LABELS, strict=True)]
    return _read(_in_json(folder, rows), TOPICS, ref_keys=("gold.name",))


@case("a label number that no name stands for", PLANTED)
def number_without_name(folder: Path) -> Case:
    says = ["a label number without a name: 7", "gives 3 names"]
    right = Refused("dataset.label_names", says)
    return _labelled(folder, [7, *NUMBERS[1:]], right, label_names=list(TOPICS))


@case("3,000 labels", "transformers, scikit-learn")
def thousands(folder: Path) -> Case:
    names = [f"intent {number}" for number in range(3000)]
    torch.manual_seed(0)
    model, tokenizer = DistilBertForSequenceClassification(tiny_config(names)).eval(), tiny_tokenizer()
    save(model, tokenizer, folder / "model")
    with torch.inference_mode():
        said = [int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) for text in TEXTS]
    true = [*said[:4], *((number + 1) % 3000 for number in said[4:])]
    file = _csv(folder, "text,label", [f"{text},{names[n]}" for text, n in zip(TEXTS, true, strict=True)])
    keys = {"path": str(file), "eval_split": "train", "data_keys": {"primary": "text"}, "ref_keys": ["label"]}
    found = {"task": "text-classification", "model_name_or_path": str(folder / "model"), "dataset": keys}
    return Case(found, Right({"accuracy": accuracy_score(true, said)}, examples=8))


@case("300 columns, an id first, the text last, in one line", PLANTED)
def many_columns(folder: Path) -> Answer:
    model = settings(folder, classes())["model_name_or_path"]
    header = ",".join(["id", "Label", *(f"x{number}" for number in range(300)), "Review"])
    rows = [",".join([str(n), LABELS[n], *["0.5"] * 300, TEXTS[n]]) for n in range(8)]
    told = "Review is read, Label is the label"
    return _decided(model, _csv(folder, header, rows), told, [{"primary": "Review"}, "Label"])


@case("names of columns with blanks around them, in one line", PLANTED)
def blank_names(folder: Path) -> Answer:
    model = settings(folder, classes())["model_name_or_path"]
    rows = [f"{text},{label}" for text, label in zip(TEXTS, LABELS, strict=True)]
    return _decided(
        model, _csv(folder, " text , label", rows), "as they stand there", [{"primary": " text "}, " label"]
    )


@case("pairs as GLUE has them: index, two sentences, gold_label, in one line", PLANTED)
def glue(folder: Path) -> Answer:
    model = settings(folder, classes())["model_name_or_path"]
    rows = [f'{n}\t{TEXTS[n]}\t"{TEXTS[-n]}\t{LABELS[n]}' for n in range(8)]
    file = _csv(folder, "index\tsentence1\tsentence2\tgold_label", rows, "dev.tsv")
    keys = {"primary": "sentence1", "secondary": "sentence2"}
    return _decided(model, file, "both sentences and gold_label", [keys, "gold_label"])


@case("a column of 0 and 1 per label in a CSV, in one line", PLANTED)
def columns_of_bits(folder: Path) -> Answer:
    model = settings(folder, sets())["model_name_or_path"]
    rows = [",".join([text, *map(str, row)]) for text, row in zip(TEXTS, MATRIX, strict=True)]
    file = _csv(folder, ",".join(["text", *TOPICS]), rows)
    return _decided(model, file, "every column that is called as a label", [{"primary": "text"}, *TOPICS])


@case("texts in a field of a record, in one line", PLANTED)
def field_decided(folder: Path) -> Answer:
    model = settings(folder, classes())["model_name_or_path"]
    rows = [{"review": {"text": text, "stars": 1}, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    return _decided(model, _in_json(folder, rows), "review.text is read", [{"primary": "review.text"}, "label"])


@case("several labels in one text, sport;money", PLANTED)
def joined_labels(folder: Path) -> Case:
    file = _csv(folder, "text,label", [f"{text},sport;money" for text in TEXTS])
    found = settings(folder, sets(), path=str(file), eval_split="train")
    says = ["must hold a list of labels per example"]
    return Case({**found, "task_args": {"is_multi_label": True}}, Refused("dataset.ref_keys", says))


@case("words and tags as one text each", PLANTED)
def joined_words(folder: Path) -> Case:
    found = tags(folder, WORDS, WORDS, PLAIN)
    rows = [f"{' '.join(words)},{' '.join(row)}" for words, row in zip(SENTENCES, WORDS, strict=True)]
    file = _csv(folder, "tokens,label", rows)
    found["dataset"] |= {"path": str(file), "eval_split": "train"}
    return Case(found, Refused("dataset.data_keys", ["must hold a list of words per example"]))


@case("similarities with a decimal comma", PLANTED)
def decimal_comma(folder: Path) -> Case:
    file = _csv(folder, "text;label", [f'{text};"{n},5"' for n, text in enumerate(TEXTS)])
    found = settings(folder, classes(("LABEL_0",)), path=str(file), eval_split="train")
    says = ["row 1 holds '0,5' in column 'label', which is no number"]
    return Case({**found, "task_args": {"is_regression": True}}, Refused("dataset.ref_keys", says))


@case("a text of a million characters in a CSV", "the text itself")
def long_text(folder: Path) -> Answer:
    long = "won " * 250_000
    file = _csv(folder, "text,label", [f'"{long}",sport', "Oslo,money"])
    rows = load_split(Source(path=str(file)), "train", "dataset.eval_split").to_list()
    return Answer([len(rows[0]["text"]), rows[1]["text"]], [len(long), "Oslo"], f"{len(long):,} characters")

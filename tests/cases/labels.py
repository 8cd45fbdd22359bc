"""Labels: their forms, their names, those that are missing, and schemes of tags."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Features, List, Value
from seqeval.metrics import f1_score as entity_f1
from seqeval.scheme import BILOU
from sklearn.metrics import accuracy_score, f1_score
from tests.cases.case import Case, Refused, Right, case
from tests.support.fitted import fit_labels, fit_sets, fit_tags, save, tiny_config, tiny_tokenizer, write_splits
from tests.support.tiny_tasks import TOPICS
from transformers import DistilBertForSequenceClassification, DistilBertForTokenClassification

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
MATRIX = ((0, 1, 0), (0, 0, 0), (0, 1, 1), (1, 0, 1), (0, 0, 1), (1, 1, 1), (1, 0, 0), (0, 1, 0))
NUMBERS = (0, 2, 1, 0, 2, 0, 1, 2)
SENTENCES = (
    ("Anna", "won", "."),
    ("the", "bank", "fell", "over", "Oslo", "Lisbon"),
    ("team", "lost", "1996"),
    ("Lisbon", "Oslo", "won"),
)


@cache
def sets() -> tuple[Any, Any]:
    """A classifier that is right on ``MATRIX``."""
    model, tokenizer = DistilBertForSequenceClassification(tiny_config(TOPICS)), tiny_tokenizer()
    fit_sets(model, tokenizer, TEXTS, MATRIX)
    return model, tokenizer


@cache
def classes(names: tuple[str, ...] = TOPICS) -> tuple[Any, Any]:
    """A classifier that is right on ``NUMBERS``."""
    model, tokenizer = DistilBertForSequenceClassification(tiny_config(names)), tiny_tokenizer()
    fit_labels(model, tokenizer, TEXTS, [number % len(names) for number in NUMBERS])
    return model, tokenizer


def settings(
    folder: Path, fitted: tuple[Any, Any], task: str = "text-classification", **dataset: Any
) -> dict[str, Any]:
    """Settings of a run over ``folder/data``, whose model was fitted."""
    save(*fitted, folder / "model")
    columns = {"data_keys": {"primary": "text"}, "ref_keys": ["label"]}
    given = {"path": str(folder / "data"), "calibration_split": "train", **columns, **dataset}
    return {"task": task, "model_name_or_path": str(folder / "model"), "dataset": given}


def _multi(folder: Path, labels: Sequence[Any], feature: Any = None, **dataset: Any) -> dict[str, Any]:
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
    write_splits(folder / "data", rows, feature and Features({"text": Value("string"), "label": feature}))
    found = settings(folder, sets(), **dataset)
    return {**found, "task_args": {"is_multi_label": True}, "metrics": ["f1_micro", "f1_macro", "accuracy"]}


ALL_RIGHT = Right({"f1_micro": 1.0, "f1_macro": 1.0, "accuracy": 1.0}, examples=8, quiet=True)


@case("multi-hot labels as whole numbers", "scikit-learn on the matrix")
def multi_hot(folder: Path) -> Case:
    matrix = np.array(MATRIX)
    right = {"f1_micro": f1_score(matrix, matrix, average="micro"), "accuracy": accuracy_score(matrix, matrix)}
    return Case(_multi(folder, [list(row) for row in MATRIX]), Right(right, examples=8, quiet=True))


@case("multi-hot labels as whole numbers with dataset.label_names", "scikit-learn on the matrix")
def multi_hot_named(folder: Path) -> Case:
    return Case(_multi(folder, [list(row) for row in MATRIX], label_names=list(TOPICS)), ALL_RIGHT)


@case("multi-hot labels as floats", "scikit-learn on the matrix")
def multi_hot_floats(folder: Path) -> Case:
    return Case(_multi(folder, [[float(value) for value in row] for row in MATRIX]), ALL_RIGHT)


@case("multi-hot labels as booleans, label_names in another order than the model's", "scikit-learn on the matrix")
def multi_hot_permuted(folder: Path) -> Case:
    turned = [[bool(value) for value in (row[2], row[0], row[1])] for row in MATRIX]
    return Case(_multi(folder, turned, label_names=["weather", "sport", "money"]), ALL_RIGHT)


@case("a column of 0 and 1 for every label", "scikit-learn on the matrix")
def label_columns(folder: Path) -> Case:
    rows = [{"text": text, "rain": r[2], "sport": r[0], "money": r[1]} for text, r in zip(TEXTS, MATRIX, strict=True)]
    write_splits(folder / "data", rows)
    names = {"ref_keys": ["rain", "sport", "money"], "label_map": {"rain": "weather"}}
    found = {**settings(folder, sets(), **names), "task_args": {"is_multi_label": True}}
    return Case({**found, "metrics": ["f1_micro", "f1_macro", "accuracy"]}, ALL_RIGHT)


@case("several columns of labels without is_multi_label", "planted")
def label_columns_of_one(folder: Path) -> Case:
    rows = [{"text": text, "sport": r[0], "money": r[1]} for text, r in zip(TEXTS, MATRIX, strict=True)]
    write_splits(folder / "data", rows)
    found = settings(folder, sets(), ref_keys=["sport", "money"])
    return Case(found, Refused("dataset.ref_keys", ["task_args.is_multi_label: true"]))


@case("lists of label numbers of a ClassLabel, [0, 1] among them", "planted")
def lists_of_numbers(folder: Path) -> Case:
    lists = [[number for number in range(3) if row[number]] for row in MATRIX]
    return Case(_multi(folder, lists, List(ClassLabel(names=list(TOPICS)))), ALL_RIGHT)


@case("lists of whole numbers that hold one twice and are no multi-hot rows", "planted")
def lists_with_doubles(folder: Path) -> Case:
    found = _multi(folder, [[1, 1], *([0],) * 7], label_names=list(TOPICS))
    return Case(found, Refused("dataset.ref_keys", ["row 1 holds label number 1 twice"]))


@case("soft labels", "planted")
def soft_labels(folder: Path) -> Case:
    found = _multi(folder, [[0.7, 0.0, 1.0]] * 8)
    return Case(found, Refused("dataset.ref_keys", ["row 1 holds 0.7", "0 or 1"]))


def _single(folder: Path, labels: Sequence[Any], names: tuple[str, ...] = TOPICS, **dataset: Any) -> dict[str, Any]:
    feature = dataset.pop("feature", None)
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
    write_splits(folder / "data", rows, feature and Features({"text": Value("string"), "label": feature}))
    return settings(folder, classes(names), **dataset)


@case("label -1 in some rows of a ClassLabel", "planted: the model was fitted until it is right")
def minus_one(folder: Path) -> Case:
    labels = [-1, 2, -1, *NUMBERS[3:]]
    right = Right({"accuracy": 1.0}, examples=6, notes=["2 rows without a label were left out, the first is row 1"])
    return Case(_single(folder, labels, feature=ClassLabel(names=list(TOPICS))), right)


@case("label -1 in all rows", "planted")
def all_minus_one(folder: Path) -> Case:
    found = _single(folder, [-1] * 8, feature=ClassLabel(names=list(TOPICS)))
    return Case(found, Refused("dataset", ["no row of split 'validation'", "has a label"]))


@case("labels -1, 0 and 1 with three names, of which -1 is meant to be the first", "planted")
def counted_from_minus_one(folder: Path) -> Case:
    found = _single(folder, [-1, 0, 1, 0, -1, 1, 0, 1], label_names=["weather", "money", "sport"])
    return Case(found, Refused("dataset.label_names", ["from -1 to 1", "numbers count from 0"]))


@case("labels as floats that are whole numbers, one missing", "planted: the model was fitted until it is right")
def float_labels(folder: Path) -> Case:
    labels = [float(number) for number in NUMBERS[:-1]] + [float("nan")]
    right = Right({"accuracy": 1.0}, examples=7, notes=["1 row without a label was left out: row 8"])
    return Case(_single(folder, labels, label_names=list(TOPICS)), right)


@case("labels true and false for a model of other names", "planted: the model was fitted until it is right")
def boolean_labels(folder: Path) -> Case:
    labels = [bool(number % 2) for number in NUMBERS]
    return Case(_single(folder, labels, ("no", "yes"), label_names=["no", "yes"]), Right({"accuracy": 1.0}, examples=8))


@case("whole numbers that are the model's names, in another order than its numbers", "planted: fitted")
def numbers_as_names(folder: Path) -> Case:
    names = ("3", "1", "2")
    return Case(
        _single(folder, [int(names[number]) for number in NUMBERS], names), Right({"accuracy": 1.0}, examples=8)
    )


@case("label_map onto a label that the model does not have", "planted")
def map_elsewhere(folder: Path) -> Case:
    labels = [TOPICS[number] for number in NUMBERS]
    found = _single(folder, labels, label_map={"sport": "sports"})
    return Case(found, Refused("dataset.label_map", ["onto sports", "it has: sport, money, weather"]))


@case("a typo in a key of label_map", "planted")
def map_typo(folder: Path) -> Case:
    labels = ["Sports" if number == 0 else TOPICS[number] for number in NUMBERS]
    found = _single(folder, labels, label_map={"sports": "sport"})
    says = ["Sports are not among the model's", "label_map's sports not among", "label_map: {Sports: sport}"]
    return Case(found, Refused("dataset.label_map", says))


@case("a key of label_map that is no declared label, where all labels are known", "planted")
def map_nothing(folder: Path) -> Case:
    found = _single(folder, NUMBERS, feature=ClassLabel(names=list(TOPICS)), label_map={"sprot": "money"})
    says = ["unknown label of the data set 'sprot'; did you mean 'sport'?"]
    return Case(found, Refused("dataset.label_map.sprot", says))


@case("77 labels of which the model has none", "planted")
def many_labels(folder: Path) -> Case:
    names = [f"intent_{number}" for number in range(77)]
    found = _single(folder, NUMBERS, feature=ClassLabel(names=names))
    return Case(found, Refused("dataset", ["intent_7 … and 69 more"]))


@case("yes and no for a model with one output", "planted")
def one_output(folder: Path) -> Case:
    found = _single(folder, ["yes", "no"] * 4, ("LABEL_0",))
    return Case(found, Refused("task_args", ["one output", "is_regression"]))


def _scores(folder: Path, values: Sequence[Any]) -> dict[str, Any]:
    rows = [{"text": text, "label": value} for text, value in zip(TEXTS, values, strict=True)]
    write_splits(folder / "data", rows)
    return {**settings(folder, classes(("LABEL_0",))), "task_args": {"is_regression": True}}


@case("a regression whose numbers are all -1", "planted")
def regression_minus_one(folder: Path) -> Case:
    return Case(_scores(folder, [-1.0] * 8), Refused("dataset", ["no row of split 'validation'", "has a label"]))


def _correlation(values: Sequence[float], without: int) -> dict[str, float]:
    """Of what the model gives with the values, one row left out."""
    model, tokenizer = classes(("LABEL_0",))
    given = [model(**tokenizer(text, return_tensors="pt")).logits.item() for text in TEXTS]
    pairs = [pair for row, pair in enumerate(zip(given, values, strict=True)) if row != without]
    return {"pearson": float(np.corrcoef(np.array(pairs).T)[0, 1])}


@case("a regression with NaN", "NumPy without that row")
def regression_nan(folder: Path) -> Case:
    values = [1.0, float("nan"), 2.0, -1.0, 4.5, 0.5, 3.0, 2.5]
    note = "1 row without a label was left out: row 2"
    return Case(_scores(folder, values), Right(_correlation(values, 1), examples=7, notes=[note]))


@case("numbers written as texts in a regression, one empty", "NumPy without that row")
def regression_texts(folder: Path) -> Case:
    found = _scores(folder, ["4.5", "1", "2", "0.5", "3", "", "2.5", "1e0"])
    right = _correlation([4.5, 1.0, 2.0, 0.5, 3.0, 0.0, 2.5, 1.0], 5)
    return Case(found, Right(right, examples=7, notes=["1 row without a label was left out: row 6"]))


@case("a text that is no number in a regression", "planted")
def regression_words(folder: Path) -> Case:
    found = _scores(folder, ["4.5", "1", "two", "0.5", "3", "1", "2.5", "1"])
    return Case(found, Refused("dataset.ref_keys", ["row 3 holds 'two'", "no number"]))


def _tagger(folder: Path, given: Sequence[Sequence[str]], labels: Sequence[str]) -> tuple[Any, Any]:
    """A tagger that says ``given`` of ``SENTENCES``."""
    model, tokenizer = DistilBertForTokenClassification(tiny_config(labels)), tiny_tokenizer()
    fit_tags(model, tokenizer, SENTENCES, [[list(labels).index(tag) for tag in row] for row in given])
    return model, tokenizer


def tags(
    folder: Path, given: Sequence[Sequence[str]], true: Sequence[Sequence[Any]], labels: Sequence[str], **dataset: Any
) -> dict[str, Any]:
    rows = [{"tokens": list(words), "label": list(tags)} for words, tags in zip(SENTENCES, true, strict=True)]
    write_splits(folder / "data", rows)
    keys = {"data_keys": {"primary": "tokens"}, **dataset}
    return settings(folder, _tagger(folder, given, labels), "token-classification", **keys)


PLAIN = ("O", "PER", "ORG", "LOC")
PLAIN_TRUE = (("PER", "O", "O"), ("O", "ORG", "O", "O", "LOC", "LOC"), ("ORG", "O", "O"), ("LOC", "LOC", "O"))
PLAIN_GIVEN = (("PER", "O", "O"), ("O", "O", "O", "O", "LOC", "LOC"), ("O", "O", "O"), ("LOC", "PER", "O"))


def _inside(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[tag if tag == "O" else f"I-{tag}" for tag in row] for row in rows]


@case("tags without prefix, an ORG among them", "seqeval on the same tags with I-")
def plaintags(folder: Path) -> Case:
    right = {"f1": entity_f1(_inside(PLAIN_TRUE), _inside(PLAIN_GIVEN))}
    found = tags(folder, PLAIN_GIVEN, PLAIN_TRUE, PLAIN)
    return Case(found, Right(right, examples=4, notes=["labels have no prefix"]))


POS = ("NOUN", "VERB", "DET", "PUNCT", "ADP", "NUM", "OTHER")
POS_TRUE = (
    ("NOUN", "VERB", "PUNCT"),
    ("DET", "NOUN", "VERB", "ADP", "NOUN", "NOUN"),
    ("NOUN", "VERB", "NUM"),
    ("NOUN", "NOUN", "OTHER"),
)
POS_GIVEN = (
    ("NOUN", "VERB", "PUNCT"),
    ("DET", "VERB", "VERB", "ADP", "NOUN", "NOUN"),
    ("NOUN", "VERB", "NUM"),
    ("NOUN", "NOUN", "VERB"),
)


@case("parts of speech", "scikit-learn on the words")
def parts_of_speech(folder: Path) -> Case:
    true, given = ([tag for row in rows for tag in row] for rows in (POS_TRUE, POS_GIVEN))
    right = {"accuracy": accuracy_score(true, given), "f1_macro": f1_score(true, given, average="macro")}
    return Case(tags(folder, POS_GIVEN, POS_TRUE, POS), Right(right, examples=4, notes=["there are no entities"]))


@case("seqeval asked for parts of speech", "planted")
def entities_of_speech(folder: Path) -> Case:
    found = {**tags(folder, POS_GIVEN, POS_TRUE, POS), "metrics": ["seqeval"]}
    return Case(found, Refused("metrics", ["metric seqeval is not for these labels", "accuracy"]))


BILOU_LABELS = ("O", "B-LOC", "I-LOC", "L-LOC", "U-LOC", "U-PER")
BILOU_TRUE = (
    ("U-PER", "O", "O"),
    ("O", "O", "O", "O", "U-LOC", "U-LOC"),
    ("O", "O", "O"),
    ("B-LOC", "L-LOC", "O"),
)
BILOU_GIVEN = (
    ("U-PER", "O", "O"),
    ("O", "O", "O", "O", "B-LOC", "L-LOC"),
    ("O", "O", "O"),
    ("B-LOC", "I-LOC", "O"),
)


@case("BILOU tags", "seqeval, strict, BILOU")
def bilou(folder: Path) -> Case:
    rows = [[list(row) for row in rows] for rows in (BILOU_TRUE, BILOU_GIVEN)]
    right = {"f1": entity_f1(*rows, mode="strict", scheme=BILOU)}
    return Case(tags(folder, BILOU_GIVEN, BILOU_TRUE, BILOU_LABELS), Right(right, examples=4, notes=["as BILOU"]))


@case("tags as PER-B", "seqeval, suffix=True")
def suffixes(folder: Path) -> Case:
    labels = ("O", "PER-B", "LOC-B", "LOC-I")
    true = (("PER-B", "O", "O"), ("O",) * 4 + ("LOC-B", "LOC-I"), ("O",) * 3, ("LOC-B", "LOC-B", "O"))
    given = (("PER-B", "O", "O"), ("O",) * 4 + ("LOC-B", "LOC-I"), ("O",) * 3, ("LOC-B", "LOC-I", "O"))
    right = {"f1": entity_f1([list(row) for row in true], [list(row) for row in given], suffix=True)}
    return Case(tags(folder, given, true, labels), Right(right, examples=4))


@case("tags of several forms", "planted")
def mixedtags(folder: Path) -> Case:
    labels = ("O", "B-PER", "I-PER", "ORG")
    rows = (("B-PER", "O", "O"), ("O", "ORG", "O", "O", "O", "O"), ("O",) * 3, ("O",) * 3)
    return Case(tags(folder, rows, rows, labels), Refused("model_name_or_path", ["no known scheme", "ORG has none"]))


@case("-100 and -1 among the labels of words", "seqeval without these words")
def masked_words(folder: Path) -> Case:
    labels = ("O", "B-PER", "B-LOC", "I-LOC")
    given = (("B-PER", "O", "O"), ("O",) * 4 + ("B-LOC", "I-LOC"), ("O",) * 3, ("B-LOC", "B-LOC", "O"))
    true = ([1, -100, 0], [0, 0, 0, -1, 2, -100], [-100, -100, -100], [2, 3, 0])
    kept = [(row, tags) for row, tags in zip(given, true, strict=True) if set(tags) != {-100}]
    kept_true = [[labels[n] for n in tags if n >= 0] for _, tags in kept]
    kept_given = [[tag for tag, n in zip(row, tags, strict=True) if n >= 0] for row, tags in kept]
    right = {"f1": entity_f1(kept_true, kept_given), "accuracy": 8 / 9}
    notes = ["3 words without a label", "1 row without a label was left out: row 3"]
    found = tags(folder, given, true, labels, label_names=list(labels))
    return Case(found, Right(right, examples=3, notes=notes))


@case("a model of LABEL_0 and so on, mapped onto by names of tags", "seqeval")
def generic_names(folder: Path) -> Case:
    names = ("O", "PER", "ORG", "LOC")
    own = {name: f"LABEL_{number}" for number, name in enumerate(names)}
    given = [[own[tag] for tag in row] for row in PLAIN_GIVEN]
    found = tags(folder, given, PLAIN_TRUE, list(own.values()), label_map=own)
    return Case(found, Right({"f1": entity_f1(_inside(PLAIN_TRUE), _inside(PLAIN_GIVEN))}, examples=4))

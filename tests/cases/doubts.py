"""What makes scores nonsense although every file is sound: weights, tokenizers and labels that do not belong together."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.cases.case import Case, Refused, Right, case
from tests.cases.models import KEY, NUMBERS, TEXTS, classified
from tests.support.fitted import fit_labels, save, tiny_config, tiny_tokenizer, write_splits
from tests.support.tiny_tasks import TOPICS
from transformers import DistilBertForSequenceClassification, PreTrainedTokenizerFast

ELSEWHERE = "see whether data and model belong together"


def _model(folder: Path, right: bool = True) -> DistilBertForSequenceClassification:
    """A model that is right on all texts, or takes every label for the next, saved with its tokenizer."""
    model, tokenizer = DistilBertForSequenceClassification(tiny_config(TOPICS)), tiny_tokenizer()
    fit_labels(model, tokenizer, TEXTS, [(number + (not right)) % len(TOPICS) for number in NUMBERS])
    save(model, tokenizer, folder / "model")
    return model


@case("weights that are NaN", "planted")
def broken_weights(folder: Path) -> Case:
    model = _model(folder)
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    model.save_pretrained(folder / "model")
    return Case(classified(folder), Refused(KEY, ["answers NaN", "save it anew"]))


@case("a model's folder without a tokenizer", "planted")
def no_tokenizer(folder: Path) -> Case:
    _model(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / "model" / name).unlink(missing_ok=True)
    return Case(classified(folder), Refused(KEY, ["no tokenizer", "save_pretrained"]))


@case("the tokenizer of another model, which knows few of the words", "planted")
def other_tokenizer(folder: Path) -> Case:
    _model(folder)
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "xylophone": 5}
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=128, **special).save_pretrained(folder / "model")
    return Case(classified(folder), Right(notes=["100 % of the evaluation set's tokens are unknown to the tokenizer"]))


@case("labels named in another order than the data's", "planted: every label is taken for the next")
def wrong_order(folder: Path) -> Case:
    _model(folder, right=False)
    told = ["0.0 % of the examples are labelled rightly", "right on 37.5 %", ELSEWHERE]
    return Case(classified(folder), Right({"accuracy": 0.0}, examples=8, notes=told))


def _texts(folder: Path, labels: list[str], **dataset: object) -> dict[str, object]:
    _model(folder)
    settings = classified(folder)
    write_splits(folder / "data", [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)])
    return {**settings, "dataset": {**settings["dataset"], **dataset}}


@case("labels that are numbers written as texts, for a model of names", "YAML: a key in quotes is a text")
def numbers_as_texts(folder: Path) -> Case:
    found = _texts(folder, [str(number) for number in NUMBERS])
    return Case(found, Refused("dataset", ["labels 0, 2, 1 are not among", "label_map: {'0': …}"]))


@case("labels with blanks around them", "YAML: a key in quotes keeps its blanks")
def blanks(folder: Path) -> Case:
    found = _texts(folder, [f" {TOPICS[number]}" for number in NUMBERS])
    return Case(found, Refused("dataset", ["there are blanks around ' sport'", "label_map: {' sport': sport}"]))


@case("a label that reads like none of the model's", "planted")
def unlike(folder: Path) -> Case:
    found = _texts(folder, ["chess" if number == 0 else TOPICS[number] for number in NUMBERS])
    return Case(found, Refused("dataset", ["label_map: {chess: …}"]))

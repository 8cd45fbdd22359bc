"""Token classification: one label per word, such as named entities.

The first sub-word of each word speaks for it. Words that truncation cuts off count as ``O`` and are reported.
Labels of data set and model are matched by name, never by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue

from quantbench import labels as names_of_labels
from quantbench.classification import Values, ratio
from quantbench.records import Scores
from quantbench.registry import Likelihood, Prediction
from quantbench.served import token_classification as served
from quantbench.served.entities import entities
from quantbench.served.token_classification import CUT_OFF, NO_TOKEN, OUTSIDE
from quantbench.settings import Settings, digest
from quantbench.text import WordProcessor

SUMMARY = "a label per word (named entities, parts of speech)"
PIPELINE_TAG = "token-classification"
AUTO_CLASS = "AutoModelForTokenClassification"
ARCHITECTURE_SUFFIX = "ForTokenClassification"
DATA_KEYS = ("primary",)
ARGS: tuple[str, ...] = ()
METRICS: Mapping[str, tuple[str, ...]] = {"seqeval": ("precision", "recall", "f1", "accuracy")}
OUTPUTS = {"logits": {0: "batch_size", 1: "sequence_length"}}
PROCESSOR = WordProcessor
SERVED = served
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
COLUMNS = ("correct_entities", "predicted_entities", "reference_entities", "correct_words", "words")


@dataclass(frozen=True)
class TokenExamples(served.Encoded):
    """Tokenized sentences, and what is right of their words.

    Attributes:
        references: for each sentence its words' label names.
        labels: the model's label names by number.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    references: Sequence[Sequence[str]]
    labels: Sequence[str]
    fingerprint: str
    notes: tuple[str, ...]


def known_metrics(settings: Settings) -> tuple[str, ...]:
    """All."""
    return tuple(METRICS)


def default_metrics(settings: Settings) -> tuple[str, ...]:
    """Seqeval's."""
    return ("seqeval",)


def default_limit(settings: Settings) -> tuple[str, float]:
    """Half a percent of F1."""
    return "f1", 0.005


def likelihood(settings: Settings) -> Likelihood:
    """One label of many per token."""
    return "categorical"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in columns and labels of a split, given its ``datasets.Features`` and the model's label names."""
    found = names_of_labels.columns(settings, features, split, {"primary": "words"}, example="ner_tags")
    if found:
        return found
    words, column = settings.dataset.data_keys["primary"], settings.dataset.ref_keys[0]
    if getattr(names_of_labels.item(features[words]), "dtype", None) != "string":
        message = f"column {words!r} must hold a list of words per example, it is {features[words]}"
        found.append(("dataset.data_keys", message))
    label = names_of_labels.item(features[column])
    if label is None:
        message = f"column {column!r} must hold a list of labels per example, it is {features[column]}"
        return [*found, ("dataset.ref_keys", message)]
    return found + names_of_labels.check(settings, label, column, labels, OUTSIDE)


def prepare(settings: Settings, dataset: Any, processor: Any, model_config: Any) -> TokenExamples:
    """Tokenize sentences given as lists of words, aligned with their labels.

    Raises:
        ValueError: if a sentence has not as many labels as words, or a label that the model does not have.
        IndexError: if a label number has no name.

    """
    labels = names_of_labels.of_model(model_config)
    words = list(dataset[settings.dataset.data_keys["primary"]])
    references = _references(settings, dataset, labels)
    for index, (sentence, tags) in enumerate(zip(words, references, strict=True)):
        if len(sentence) != len(tags):
            raise ValueError(f"example {index} has {len(sentence)} words and {len(tags)} labels")
    args = serving(settings, processor, model_config)
    encoded = served.encode([{"primary": sentence} for sentence in words], processor, args)
    made = {"inputs": encoded.inputs, "first": encoded.first_tokens, "references": references, "labels": labels}
    return TokenExamples(
        **vars(encoded),
        references=references,
        labels=labels,
        fingerprint=digest({**made, "processor": processor.known()}),
        notes=(*_notes(encoded), *processor.notes),
    )


def _notes(encoded: served.Encoded) -> list[str]:
    """How many words are not labelled, and why."""
    places = [token for sentence in encoded.first_tokens for token in sentence]
    cut, none = places.count(CUT_OFF), places.count(NO_TOKEN)
    notes = []
    if cut:
        notes.append(f"{cut} words of the evaluation set lie behind the model's maximum length and count as {OUTSIDE}")
    if none:
        notes.append(f"{none} words of the evaluation set have no token (zero width or empty) and are left out")
    return notes


def serving(settings: Settings, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What words are labelled with, here and beside a deployed model."""
    labels = names_of_labels.of_model(model_config)
    prefixed = any(name.startswith(("B-", "I-")) for name in labels)
    return {"labels": [*labels], "scheme": "IOB" if prefixed else None}


def _references(settings: Settings, dataset: Any, labels: Sequence[str]) -> list[list[str]]:
    column = settings.dataset.ref_keys[0]
    names, _ = names_of_labels.declared(settings, names_of_labels.item(dataset.features[column]))
    mapping = settings.dataset.label_map
    mapped = [[names_of_labels.name_of(item, names, mapping) for item in row] for row in dataset[column]]
    problem = names_of_labels.mismatch(sorted({name for row in mapped for name in row}), labels, OUTSIDE)
    if problem:
        raise ValueError(problem)
    return mapped


decode = served.decode


def score(examples: TokenExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Seqeval's entity precision, recall and F1 (micro average) and the accuracy over words."""
    outcomes = []
    for wanted, prediction in zip(examples.references, predictions, strict=True):
        reference = [name for name, number in zip(wanted, prediction, strict=True) if number != NO_TOKEN]
        kept = [number for number in prediction if number != NO_TOKEN]
        names = [examples.labels[int(number)] if number >= 0 else OUTSIDE for number in kept]
        true, predicted = entities(reference), entities(names)
        right = sum(a == b for a, b in zip(reference, names, strict=True))
        outcomes.append((len(true & predicted), len(predicted), len(true), right, len(names)))
    return Scores(
        metrics=metrics_from_counts(tuple(sum(column) for column in zip(*outcomes, strict=True))),
        examples=len(outcomes),
        changed=sum(a != b for a, b in zip(original, predictions, strict=True)),
        columns=COLUMNS,
        outcomes=tuple(outcomes),
    )


def metrics(columns: Sequence[str], outcomes: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> Values:
    """Of counts summed over the examples: an F1 is that of all entities, not a mean of the sentences'."""
    return metrics_from_counts(weights @ outcomes)


def metrics_from_counts(counts: np.ndarray[Any, Any] | Sequence[int]) -> Values:
    """Metric values from counts summed over any examples, in the order of ``COLUMNS``; 0 where nothing is counted.

    Args:
        counts: shape (…, columns).

    """
    correct, predicted, reference, right, words = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    precision, recall = ratio(correct, predicted), ratio(correct, reference)
    return {
        "precision": precision,
        "recall": recall,
        "f1": ratio(2 * precision * recall, precision + recall),
        "accuracy": ratio(right, words),
    }

"""Token classification: one label per word, such as named entities.

The first sub-word of each word speaks for it. Words that truncation cuts off count as ``O`` and are reported.
Labels of data set and model are matched by name, never by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbench import labels as names_of_labels
from quantbench.classification import Values, ratio
from quantbench.entities import entities
from quantbench.records import Scores
from quantbench.registry import Likelihood, Prediction
from quantbench.settings import Settings, digest
from quantbench.text import TextProcessor

SUMMARY = "a label per word (named entities, parts of speech)"
PIPELINE_TAG = "token-classification"
AUTO_CLASS = "AutoModelForTokenClassification"
ARCHITECTURE_SUFFIX = "ForTokenClassification"
DATA_KEYS = ("primary",)
ARGS: tuple[str, ...] = ()
METRICS: Mapping[str, tuple[str, ...]] = {"seqeval": ("precision", "recall", "f1", "accuracy")}
OUTPUTS = {"logits": {0: "batch_size", 1: "sequence_length"}}
PROCESSOR = TextProcessor
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
OUTSIDE = "O"
INFER_INPUT = '"some text"'
COLUMNS = ("correct_entities", "predicted_entities", "reference_entities", "correct_words", "words")
INFER = '''
def show(text, processor, labels, run):
    """Print the text's entities: neighbouring words of one kind, by the label of each word's first token."""
    words = re.findall(r"\\w+|[^\\w\\s]", text)
    encoded = processor(words, is_split_into_words=True, truncation=True)
    inputs = {name: np.array([values], dtype=np.int64) for name, values in encoded.items()}
    best = run(inputs)[0][0].argmax(axis=-1)
    entities, previous = [], None
    for token, word in enumerate(encoded.word_ids()):
        if word is None or word == previous:
            continue
        label = labels[str(int(best[token]))]
        kind = label.partition("-")[2]
        if kind and label.startswith("I-") and entities and entities[-1][1] == kind and entities[-1][2] == word - 1:
            entities[-1] = (f"{entities[-1][0]} {words[word]}", kind, word)
        elif kind:
            entities.append((words[word], kind, word))
        previous = word
    for name, kind, _ in entities:
        print(f"{kind}\\t{name}")
    if not entities:
        print("no entities")
'''


@dataclass(frozen=True)
class TokenExamples:
    """Tokenized sentences.

    Attributes:
        inputs: token values by input name, one mapping per sentence.
        costs: tokens of each sentence.
        first_tokens: for each sentence the token index of each word's first sub-word, -1 where truncation cut it off.
        references: for each sentence its words' label names.
        labels: the model's label names by number.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    costs: Sequence[int]
    first_tokens: Sequence[Sequence[int]]
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
    limit = processor.max_length(model_config)
    encoded = processor.raw(words, is_split_into_words=True, truncation=limit is not None, max_length=limit)
    names = list(encoded.keys())
    inputs = [{name: encoded[name][index] for name in names} for index in range(len(words))]
    first = [_first_tokens(encoded.word_ids(index), len(sentence)) for index, sentence in enumerate(words)]
    cut = sum(token < 0 for sentence in first for token in sentence)
    notes = (f"{cut} words of the evaluation set lie behind the model's maximum length and count as {OUTSIDE}",)
    return TokenExamples(
        inputs=inputs,
        costs=[len(example["input_ids"]) for example in inputs],
        first_tokens=first,
        references=references,
        labels=labels,
        fingerprint=digest({"inputs": inputs, "first": first, "references": references, "labels": labels}),
        notes=notes if cut else (),
    )


def _references(settings: Settings, dataset: Any, labels: Sequence[str]) -> list[list[str]]:
    column = settings.dataset.ref_keys[0]
    names, _ = names_of_labels.declared(settings, names_of_labels.item(dataset.features[column]))
    mapping = settings.dataset.label_map
    mapped = [[names_of_labels.name_of(item, names, mapping) for item in row] for row in dataset[column]]
    problem = names_of_labels.mismatch(sorted({name for row in mapped for name in row}), labels, OUTSIDE)
    if problem:
        raise ValueError(problem)
    return mapped


def _first_tokens(word_ids: Sequence[int | None], words: int) -> list[int]:
    first = [-1] * words
    for token, word in enumerate(word_ids):
        if word is not None and first[word] < 0:
            first[word] = token
    return first


def decode(outputs: Sequence[np.ndarray[Any, Any]], row: int, examples: TokenExamples, index: int) -> Prediction:
    """Label numbers of the words of example ``index``; -1 for words that truncation cut off.

    Args:
        outputs: logits of shape (batch, tokens, labels) as the only element.
        row: the example's place in the batch.
        examples: the examples.
        index: the example's place among them.

    """
    best = outputs[0][row].argmax(axis=-1)
    return tuple(int(best[token]) if token >= 0 else -1 for token in examples.first_tokens[index])


def score(examples: TokenExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Seqeval's entity precision, recall and F1 (micro average) and the accuracy over words."""
    outcomes = []
    for reference, prediction in zip(examples.references, predictions, strict=True):
        names = [examples.labels[int(number)] if number >= 0 else OUTSIDE for number in prediction]
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

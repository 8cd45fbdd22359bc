"""Token classification: one label per word, such as named entities.

The first sub-word of each word speaks for it. Words that truncation cuts off count as ``O`` and are reported.
Labels of data set and model are matched by name, never by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbench.entities import entities
from quantbench.records import Scores
from quantbench.settings import Settings, digest
from quantbench.text import max_length

SUMMARY = "a label per word (named entities, parts of speech)"
PIPELINE_TAG = "token-classification"
AUTO_CLASS = "AutoModelForTokenClassification"
ARCHITECTURE_SUFFIX = "ForTokenClassification"
DATA_KEYS = ("primary",)
METRICS: Mapping[str, tuple[str, ...]] = {"seqeval": ("precision", "recall", "f1", "accuracy")}
DEFAULT_METRICS = ("seqeval",)
MAIN_METRIC = "f1"
OUTPUTS = ("logits",)
OUTSIDE = "O"
COLUMNS = ("correct_entities", "predicted_entities", "reference_entities", "correct_words", "words")
INFER = '''
def show(text, tokenizer, labels, run):
    """Print the text's entities: neighbouring words of one kind, by the label of each word's first token."""
    words = re.findall(r"\\w+|[^\\w\\s]", text)
    encoded = tokenizer(words, is_split_into_words=True, truncation=True)
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
        first_tokens: for each sentence the token index of each word's first sub-word, -1 where truncation cut it off.
        references: for each sentence its words' label names.
        labels: the model's label names by number.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    first_tokens: Sequence[Sequence[int]]
    references: Sequence[Sequence[str]]
    labels: Sequence[str]
    fingerprint: str
    notes: tuple[str, ...]


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in columns and labels of a split, given its ``datasets.Features`` and the model's label names."""
    words_column = settings.dataset.data_keys.get("primary")
    if words_column is None:
        return [("dataset.data_keys", "data_keys needs primary, the column of words, such as {primary: tokens}")]
    if words_column not in features:
        return [("dataset.data_keys", _no_column("data_keys.primary", words_column, split, features))]
    if len(settings.dataset.ref_keys) != 1:
        return [("dataset.ref_keys", "token-classification needs one column in ref_keys, such as [ner_tags]")]
    label_column = settings.dataset.ref_keys[0]
    if label_column not in features:
        return [("dataset.ref_keys", _no_column("ref_keys", label_column, split, features))]
    found = []
    if _item_type(features[words_column]) != "string":
        found.append(
            (
                "dataset.data_keys",
                f"column {words_column!r} must hold a list of words per example, it is {features[words_column]}",
            )
        )
    names, problem = _label_names(settings, features[label_column])
    if problem:
        found.append(("dataset.ref_keys", f"column {label_column!r} {problem}"))
    elif names is not None:
        problem = _mismatch([settings.dataset.label_map.get(name, name) for name in names], labels)
        if problem:
            found.append(("dataset.label_map", problem))
    return found


def _no_column(key: str, column: str, split: str, features: Any) -> str:
    return f"{key}: split {split!r} has no column {column!r}; there is: {', '.join(features)}"


def _inner(feature: Any) -> Any | None:
    """The feature of a list's items, None for what is no list."""
    inner = getattr(feature, "feature", None)
    return feature[0] if isinstance(feature, list) and feature else inner


def _item_type(feature: Any) -> str | None:
    return getattr(_inner(feature), "dtype", None)


def _label_names(settings: Settings, feature: Any) -> tuple[list[str] | None, str | None]:
    """Label names as declared by the data set or the configuration; None where each example carries names itself."""
    inner = _inner(feature)
    if inner is None:
        return None, f"must hold a list of labels per example, it is {feature}"
    if settings.dataset.label_names is not None:
        return list(settings.dataset.label_names), None
    if getattr(inner, "names", None):
        return list(inner.names), None
    if getattr(inner, "dtype", None) == "string":
        return None, None
    return None, "holds numbers without names; give them in order: dataset.label_names: [O, B-PER, …]"


def _mismatch(names: Sequence[str], labels: Sequence[str]) -> str | None:
    missing = [name for name in names if name not in labels]
    if not missing:
        return None
    return (
        f"the data set's labels {', '.join(missing)} are not among the model's ({', '.join(labels)}); "
        f"say what each stands for, e.g. dataset.label_map: {{{missing[0]}: {OUTSIDE}}}"
    )


def prepare(settings: Settings, dataset: Any, tokenizer: Any, model_config: Any) -> TokenExamples:
    """Tokenize sentences given as lists of words, aligned with their labels.

    Raises:
        ValueError: if a sentence has not as many labels as words, or a label that the model does not have.
        IndexError: if a label number has no name.

    """
    labels = _model_labels(model_config)
    words = list(dataset[settings.dataset.data_keys["primary"]])
    references = _references(settings, dataset, labels)
    for index, (sentence, tags) in enumerate(zip(words, references, strict=True)):
        if len(sentence) != len(tags):
            raise ValueError(f"example {index} has {len(sentence)} words and {len(tags)} labels")
    limit = max_length(model_config, tokenizer)
    encoded = tokenizer(words, is_split_into_words=True, truncation=limit is not None, max_length=limit)
    names = list(encoded.keys())
    inputs = [{name: encoded[name][index] for name in names} for index in range(len(words))]
    first = [_first_tokens(encoded.word_ids(index), len(sentence)) for index, sentence in enumerate(words)]
    cut = sum(token < 0 for sentence in first for token in sentence)
    notes = (f"{cut} words of the evaluation set lie behind the model's maximum length and count as {OUTSIDE}",)
    return TokenExamples(
        inputs=inputs,
        first_tokens=first,
        references=references,
        labels=labels,
        fingerprint=digest({"inputs": inputs, "first": first, "references": references, "labels": labels}),
        notes=notes if cut else (),
    )


def _model_labels(model_config: Mapping[str, Any]) -> list[str]:
    by_number = {int(number): str(name) for number, name in model_config["id2label"].items()}
    return [by_number[number] for number in sorted(by_number)]


def _references(settings: Settings, dataset: Any, labels: Sequence[str]) -> list[list[str]]:
    column = settings.dataset.ref_keys[0]
    names, _ = _label_names(settings, dataset.features[column])
    mapping = settings.dataset.label_map
    rows = [[_name(item, names) for item in row] for row in dataset[column]]
    mapped = [[mapping.get(name, name) for name in row] for row in rows]
    problem = _mismatch(sorted({name for row in mapped for name in row}), labels)
    if problem:
        raise ValueError(problem)
    return mapped


def _name(item: int | str, names: Sequence[str] | None) -> str:
    if names is None or isinstance(item, str):
        return str(item)
    if not 0 <= item < len(names):
        raise IndexError(f"label number {item} has no name; the names are {', '.join(names)}")
    return names[item]


def _first_tokens(word_ids: Sequence[int | None], words: int) -> list[int]:
    first = [-1] * words
    for token, word in enumerate(word_ids):
        if word is not None and first[word] < 0:
            first[word] = token
    return first


def decode(outputs: Sequence[np.ndarray[Any, Any]], row: int, examples: TokenExamples, index: int) -> tuple[int, ...]:
    """Label numbers of the words of example ``index``; -1 for words that truncation cut off.

    Args:
        outputs: logits of shape (batch, tokens, labels) as the only element.
        row: the example's place in the batch.
        examples: the examples.
        index: the example's place among them.

    """
    best = outputs[0][row].argmax(axis=-1)
    return tuple(int(best[token]) if token >= 0 else -1 for token in examples.first_tokens[index])


def score(examples: TokenExamples, predictions: Sequence[tuple[int, ...]]) -> Scores:
    """Seqeval's entity precision, recall and F1 (micro average) and the accuracy over words."""
    outcomes = []
    for reference, prediction in zip(examples.references, predictions, strict=True):
        names = [examples.labels[number] if number >= 0 else OUTSIDE for number in prediction]
        true, predicted = entities(reference), entities(names)
        right = sum(a == b for a, b in zip(reference, names, strict=True))
        outcomes.append((len(true & predicted), len(predicted), len(true), right, len(names)))
    return Scores(
        metrics=metrics_from_counts(tuple(sum(column) for column in zip(*outcomes, strict=True))),
        examples=len(outcomes),
        columns=COLUMNS,
        outcomes=tuple(outcomes),
    )


def metrics_from_counts(counts: Sequence[int]) -> dict[str, float]:
    """Metric values from counts summed over any examples, in the order of ``COLUMNS``; 0 where nothing is counted."""
    correct, predicted, reference, right, words = counts
    precision = correct / predicted if predicted else 0.0
    recall = correct / reference if reference else 0.0
    total = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / total if total else 0.0,
        "accuracy": right / words if words else 0.0,
    }

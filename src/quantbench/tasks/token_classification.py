"""Token classification: one label per word, such as named entities.

The first sub-word of each word speaks for it. Words that truncation cuts off count as ``O`` and are reported.
Labels of data set and model are matched by name, never by number. Without labels, the original's predictions are the
reference (``_agreement``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue

from quantbench.plugins.examples import Prediction
from quantbench.plugins.protocols import Likelihood, Rule
from quantbench.schema.base import digest
from quantbench.schema.results import Scores
from quantbench.schema.settings import Settings, Sources, TaskArgs
from quantbench.served import token_classification as served
from quantbench.served.entities import WORDS, describe, entities, scheme_of
from quantbench.served.token_classification import CUT_OFF, NO_TOKEN, OUTSIDE
from quantbench.sources import cells
from quantbench.sources import labels as names_of_labels
from quantbench.tasks import _agreement, _label_metrics
from quantbench.tasks._label_metrics import Values, ratio
from quantbench.tasks._text import WordProcessor

SUMMARY = "a label per word (named entities, parts of speech)"
PIPELINE_TAG = "token-classification"
AUTO_CLASS = "AutoModelForTokenClassification"
ARCHITECTURE_SUFFIX = "ForTokenClassification"
DATA_KEYS = ("primary",)
ENTITY_AGREEMENT = "entity_agreement"
"""F1 of the entities against those of the original; 1 where neither has any."""
AGREED_METRICS = (ENTITY_AGREEMENT, _agreement.AGREEMENT)
METRICS: Mapping[str, tuple[str, ...]] = {
    "seqeval": ("precision", "recall", "f1", "accuracy"),
    **_label_metrics.MULTI_LABEL_METRICS,
    **{name: (name,) for name in AGREED_METRICS},
}
ENTITY_METRICS = ("seqeval", "accuracy")
WORD_METRICS = tuple(_label_metrics.MULTI_LABEL_METRICS)
"""Metrics where labels are of single words."""
OUTPUTS = {"logits": {0: "batch_size", 1: "sequence_length"}}
PROCESSOR = WordProcessor
SERVED = served
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
COLUMNS = ("correct_entities", "predicted_entities", "reference_entities", "correct_words", "words")
AGREED = ("common_entities", "predicted_entities", "original_entities", "equal_words", "words")


class Args(TaskArgs, extra="forbid"):
    """There are no options of words."""


RULES: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class TokenExamples(served.Encoded):
    """Tokenized sentences and the labels of their words.

    Attributes:
        references: for each sentence its words' label names, None for words that are not scored; None without labels.
        labels: the model's label names by number.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.
        scheme: of the labels, see ``entities``.

    """

    references: Sequence[Sequence[str | None]] | None
    labels: Sequence[str]
    fingerprint: str
    notes: tuple[str, ...]
    scheme: str = "IOB"


def known_metrics(sources: Sources) -> tuple[str, ...]:
    """Those of ``METRICS`` with labels or without; :func:`check` refuses those that the model's labels do not have."""
    unlabelled = _agreement.unlabelled(sources)
    return tuple(name for name in METRICS if (name in AGREED_METRICS) == unlabelled)


def default_metrics(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """seqeval's; accuracy and macro F1 of words where labels are of single words (no scheme such as BIO)."""
    if _agreement.unlabelled(sources):
        return AGREED_METRICS[_of_words(sources, labels) :]
    return ("accuracy", "f1_macro") if _of_words(sources, labels) else ("seqeval",)


def default_limit(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
    """F1 may drop by 0.005; the accuracy of words where labels are of single words. Agreement may drop by 0.02."""
    if _agreement.unlabelled(sources):
        return default_metrics(sources, labels)[0], _agreement.LIMIT
    return ("accuracy" if _of_words(sources, labels) else "f1"), 0.005


def _of_words(sources: Sources, labels: Sequence[str]) -> bool:
    spoken = names_of_labels.spoken(labels, sources.dataset.label_map)
    try:
        return bool(labels) and scheme_of(spoken) == WORDS
    except ValueError:
        return False


def likelihood(sources: Sources) -> Likelihood:
    """``categorical``: one label of many per token."""
    return "categorical"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in columns and labels of a split, given its ``datasets.Features`` and the model's label names."""
    wanted = {"primary": "words"}
    found = names_of_labels.columns(
        settings, features, split, wanted, example="ner_tags", needed=_agreement.needs(settings)
    )
    if found:
        return found
    words = settings.dataset.data_keys["primary"]
    text = getattr(features[words], "dtype", None) == "string"
    if text and _agreement.unlabelled(settings):  # it is split into words
        return _check_metrics(settings, labels)
    if getattr(cells.item(features[words]), "dtype", None) not in names_of_labels.TEXTS:
        message = f"column {words!r} must hold a list of words per example, it is {features[words]}"
        found.append(("dataset.data_keys", message))
    if _agreement.unlabelled(settings):
        return found + _check_metrics(settings, labels)
    column = settings.dataset.ref_keys[0]
    label = cells.item(features[column])
    if label is None:
        message = f"column {column!r} must hold a list of labels per example, it is {features[column]}"
        return [*found, ("dataset.ref_keys", message)]
    return found + names_of_labels.check(settings, label, column, labels) + _check_metrics(settings, labels)


def _check_metrics(settings: Settings, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes of labels that follow no scheme, and of metrics that labels of their scheme do not have."""
    if not labels:
        return []
    spoken = names_of_labels.spoken(labels, settings.dataset.label_map)
    try:
        scheme = scheme_of(spoken)
    except ValueError as error:
        message = f"the model's labels ({cells.some(spoken)}) are of no known scheme: {error}"
        return [("model_name_or_path", f"{message}; rename them in config.json")]
    there = WORD_METRICS if scheme == WORDS else ENTITY_METRICS
    if _agreement.unlabelled(settings):
        there = AGREED_METRICS[scheme == WORDS :]
    return [
        ("metrics", f"metric {name} is not for these labels: {describe(scheme)}; there is: {', '.join(there)}")
        for name in settings.metrics
        if name not in there
    ]


def check_model(sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """No mistakes: a model's words have labels, whatever its ``config.json`` says of them."""
    return []


def references(sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
    """The label of each word of each row, None for words that are not scored and for rows without any label.

    Raises:
        cells.Unusable: see ``labels.words``; also if a row has not as many labels as words.

    """
    if _agreement.unlabelled(sources):
        return _agreement.references(dataset)
    column = sources.dataset.ref_keys[0]
    found = names_of_labels.words(sources, dataset, column, labels)
    sentences = dataset[sources.dataset.data_keys["primary"]]
    for number, (words, tags) in enumerate(zip(sentences, found, strict=True), start=1):
        if words is not None and tags is not None and len(words) != len(tags):
            raise cells.Unusable("dataset.ref_keys", f"row {number} has {len(words)} words and {len(tags)} labels")
    return found


def prepare(sources: Sources, dataset: Any, processor: Any, model_config: Any) -> TokenExamples:
    """Tokenize sentences given as lists of words, aligned with their labels."""
    mapping = sources.dataset.label_map
    own = names_of_labels.of_model(model_config)
    labels = names_of_labels.spoken(own, mapping)
    words = list(dataset[sources.dataset.data_keys["primary"]])
    names_by_own = dict(zip(own, labels, strict=True))
    unlabelled = _agreement.unlabelled(sources)
    read = [] if unlabelled else cells.references(dataset)
    references = None if unlabelled else [[names_by_own.get(name) for name in row] for row in read]
    args = serving(sources, processor, model_config)
    encoded = served.encode([{"primary": sentence} for sentence in words], processor, args)
    made = {"inputs": encoded.inputs, "first": encoded.first_tokens, "references": references, "labels": labels}
    scheme = scheme_of(labels)
    return TokenExamples(
        **vars(encoded),
        references=references,
        labels=labels,
        fingerprint=digest({**made, "processor": processor.known()}),
        notes=(
            *(_agreement.NOTES if unlabelled else ()),
            describe(scheme),
            *_notes(encoded, references or ()),
            *processor.notes,
            *processor.doubts(encoded.inputs),
        ),
        scheme=scheme,
    )


def _notes(encoded: served.Encoded, references: Sequence[Sequence[str | None]]) -> list[str]:
    """How many words are not labelled or not scored, and why."""
    places = [token for sentence in encoded.first_tokens for token in sentence]
    cut, none = places.count(CUT_OFF), places.count(NO_TOKEN)
    notes = []
    if cut:
        notes.append(f"{cut} words of the evaluation set lie behind the model's maximum length and count as {OUTSIDE}")
    if none:
        notes.append(f"{none} words of the evaluation set have no token (zero width or empty) and are left out")
    masked = sum(name is None for row in references for name in row)
    if masked:
        notes.append(f"{masked} words without a label (-100, -1 or nothing) are not scored")
    return notes


def serving(sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What words are labelled with, here and beside a deployed model."""
    labels = names_of_labels.spoken(names_of_labels.of_model(model_config), sources.dataset.label_map)
    scheme = scheme_of(labels)
    return {"labels": [*labels], "scheme": None if scheme == WORDS else scheme}


decode = served.decode


def score(examples: TokenExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Entity precision, recall and F1 (micro average) and the accuracy over words, or values of labels of words.

    Words that are not scored are taken out of both sequences, as the examples of transformers do before seqeval.
    """
    if examples.references is None:
        return _agreed(examples, predictions, original)
    outcomes = []
    count = _of_words_counts if examples.scheme == WORDS else _of_entities_counts
    for reference, prediction in zip(examples.references, predictions, strict=True):
        given = served.labelled(prediction, examples.labels)
        pairs = [(wanted, name) for place, name in given.items() if (wanted := reference[place]) is not None]
        outcomes.append(count(examples, [wanted for wanted, _ in pairs], [name for _, name in pairs]))
    columns = word_columns(examples.labels) if examples.scheme == WORDS else COLUMNS
    counts = np.asarray(outcomes, dtype=np.float64)
    return Scores(
        metrics=metrics(columns, counts, np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=sum(a != b for a, b in zip(original, predictions, strict=True)),
        columns=columns,
        outcomes=tuple(outcomes),
        notes=_doubts(columns, counts),
    )


def _agreed(examples: TokenExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Entities and words as the original has them; words behind the limit are none of either."""
    outcomes = []
    for given, before in zip(predictions, original, strict=True):
        read = [place for place, number in enumerate(before) if number >= 0]
        found, wanted = (_entities_of(examples, row) for row in (given, before))
        equal = sum(given[place] == before[place] for place in read)
        outcomes.append((len(found & wanted), len(found), len(wanted), equal, len(read)))
    return Scores(
        metrics=metrics(AGREED, np.asarray(outcomes, dtype=np.float64), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=sum(a != b for a, b in zip(original, predictions, strict=True)),
        columns=AGREED,
        outcomes=tuple(outcomes),
    )


def _entities_of(examples: TokenExamples, prediction: Prediction) -> set[tuple[str, int, int]]:
    return entities([*served.labelled(prediction, examples.labels).values()], examples.scheme)


def _doubts(columns: Sequence[str], counts: np.ndarray[Any, Any]) -> tuple[str, ...]:
    """The note on predictions that find none of the entities, or label words no better than always alike."""
    sums = counts.sum(axis=0)
    if tuple(columns) == COLUMNS:
        found, _, wanted, _, _ = sums
        text = f"None of {wanted:.0f} entities is found rightly: see whether data and model belong together"
        told = f"{text} (dataset.data_keys, ref_keys, label_names, label_map, the tokenizer)"
        return (told,) if wanted > found == 0 else ()
    right, wanted, _ = np.split(sums[:-1], 3)
    return _label_metrics.doubts(right.sum() / sums[-1], wanted.max() / sums[-1], "words")


def word_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Of outcomes where labels are of single words: how often each is right, wanted and given."""
    return (*(f"{what} {label}" for what in ("right", "wanted", "given") for label in labels), "words")


def _of_entities_counts(examples: TokenExamples, reference: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    true, predicted = entities(reference, examples.scheme), entities(names, examples.scheme)
    right = sum(a == b for a, b in zip(reference, names, strict=True))
    return len(true & predicted), len(predicted), len(true), right, len(names)


def _of_words_counts(examples: TokenExamples, reference: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    same = [a for a, b in zip(reference, names, strict=True) if a == b]
    return (*(list(part).count(label) for part in (same, reference, names) for label in examples.labels), len(names))


def metrics(columns: Sequence[str], outcomes: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> Values:
    """Of counts summed over the examples: an F1 is that of all entities, not a mean of the sentences'."""
    sums = weights @ outcomes
    if tuple(columns) == AGREED:
        found = metrics_from_counts(sums)
        nothing = sums[..., 1] + sums[..., 2] == 0  # no entities on either side is agreement, too
        return {ENTITY_AGREEMENT: np.where(nothing, 1.0, found["f1"])[()], _agreement.AGREEMENT: found["accuracy"]}
    if tuple(columns) == COLUMNS:
        return metrics_from_counts(sums)
    right, wanted, given = np.split(sums[..., :-1], 3, axis=-1)
    return _label_metrics.of_counts(right, wanted, given, sums[..., -1])


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

"""Text classification: one label per text or pair of texts, any number of labels, or a number.

Labels of data set and model are matched by name, never by number. What lies behind the model's maximum length is cut
off and reported. Without labels, the original's predictions are the reference (``_agreement``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue

from quantbench.plugins.examples import Prediction
from quantbench.plugins.options import typed
from quantbench.plugins.protocols import Likelihood, Rule
from quantbench.schema.base import digest
from quantbench.schema.results import Scores
from quantbench.schema.settings import Dataset, Flag, Settings, Sources, TaskArgs
from quantbench.served import text_classification as served
from quantbench.sources import cells
from quantbench.sources import labels as names_of_labels
from quantbench.tasks import _agreement, _label_metrics, _multi_hot, _outputs
from quantbench.tasks._text import TextProcessor

SUMMARY = "a label, labels or a number per text or pair of texts (intents, sentiment, similarity)"
PIPELINE_TAG = "text-classification"
AUTO_CLASS = "AutoModelForSequenceClassification"
ARCHITECTURE_SUFFIX = "ForSequenceClassification"
DATA_KEYS = ("primary", "secondary")
GLUE: Mapping[str, tuple[str, ...]] = {
    "cola": ("matthews_correlation",),
    **dict.fromkeys(("sst2", "mnli", "qnli", "rte", "wnli"), ("accuracy",)),
    **dict.fromkeys(("mrpc", "qqp"), ("accuracy", "f1")),
    "stsb": ("pearson", "spearmanr"),
}
"""Values of the benchmark's parts (Wang et al., 2019), as the metric ``glue`` of Hugging Face evaluate has them."""
METRICS: Mapping[str, tuple[str, ...]] = {
    **_label_metrics.LABEL_METRICS,
    **_label_metrics.NUMBER_METRICS,
    **{f"glue/{name}": values for name, values in GLUE.items()},
    **_agreement.METRICS,
}
OUTPUTS = {"logits": {0: "batch_size"}}
PROCESSOR = TextProcessor
SERVED = served
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""


class Args(TaskArgs, extra="forbid"):
    """Options of this task.

    ``is_regression`` says that the model gives a number instead of labels, ``is_multi_label`` that any number of labels
    may hold.
    """

    is_regression: Flag = False
    is_multi_label: Flag = False


def _one_kind(sources: Sources) -> str | None:
    args = typed(Args, sources)
    if not (args.is_regression and args.is_multi_label):
        return None
    return "task_args.is_multi_label and is_regression exclude each other; remove one of them"


RULES = (Rule(("task_args.is_multi_label", "task_args.is_regression"), _one_kind),)


@dataclass(frozen=True)
class TextExamples(served.Encoded):
    """Tokenized texts and their references.

    Attributes:
        references: number of the label, 0 or 1 for every label, or the number, of each text; None without labels.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.
        labels: how many the model has.

    """

    references: Sequence[Prediction] | None
    fingerprint: str
    notes: tuple[str, ...]
    labels: int


_LABELLED = Dataset(path="-", ref_keys=("-",))


def kind_of(sources: Sources) -> str:
    """What a model of these sources gives: ``single``, ``sets`` or ``numbers``."""
    args = typed(Args, sources)
    return "numbers" if args.is_regression else "sets" if args.is_multi_label else "single"


def known_metrics(sources: Sources) -> tuple[str, ...]:
    """Those for one label, for several, or for a number; without labels :func:`check` refuses all but agreement."""
    kind = kind_of(sources)
    if _agreement.unlabelled(sources):
        labelled = known_metrics(sources.model_copy(update={"dataset": _LABELLED}))
        return (*_agreement.metrics_of(kind), *labelled)
    if kind == "sets":
        return tuple(_label_metrics.MULTI_LABEL_METRICS)
    values = _label_metrics.NUMBER_METRICS if kind == "numbers" else _label_metrics.LABEL_METRICS
    return tuple(name for name, reported in METRICS.items() if set(reported) <= set(values))


def default_metrics(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Accuracy and macro F1 of one label, micro and macro F1 of sets of labels, both correlations of numbers."""
    if _agreement.unlabelled(sources):
        return _agreement.metrics_of(kind_of(sources))[: 1 if len(labels) > _agreement.MOST else None]
    kinds = {"single": ("accuracy", "f1_macro"), "sets": ("f1_micro", "f1_macro"), "numbers": ("pearson", "spearmanr")}
    return kinds[kind_of(sources)]


def default_limit(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
    """The first of the default metrics may drop by 0.005, agreement by 0.02."""
    return default_metrics(sources)[0], _agreement.LIMIT if _agreement.unlabelled(sources) else 0.005


def likelihood(sources: Sources) -> Likelihood:
    """``categorical`` for one label, ``bernoulli`` for sets of labels, ``gaussian`` for a number."""
    kinds: dict[str, Likelihood] = {"single": "categorical", "sets": "bernoulli", "numbers": "gaussian"}
    return kinds[kind_of(sources)]


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in columns and labels of a split, given its ``datasets.Features`` and the model's label names."""
    found = names_of_labels.columns(
        settings, features, split, {"primary": "texts"}, refs=None, needed=_agreement.needs(settings)
    )
    if found:
        return found
    if _agreement.unlabelled(settings):
        return names_of_labels.no_texts(settings, features) + _agreement.check(settings, labels, kind_of(settings))
    return names_of_labels.no_texts(settings, features) + _check_references(settings, features, labels)


def check_model(sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Mistakes in what the model's outputs are taken for, as its ``config.json`` has them."""
    return _outputs.mistakes(model_config, typed(Args, sources))


def _check_references(settings: Settings, features: Any, labels: Sequence[str]) -> list[tuple[str, str]]:
    refs, kind = settings.dataset.ref_keys, kind_of(settings)
    if len(refs) > 1:
        if kind == "sets":
            return _multi_hot.check_columns(settings, features, labels)
        message = f"ref_keys names {len(refs)} columns; several labels in columns need task_args.is_multi_label: true"
        return [("dataset.ref_keys", message)]
    column, feature = refs[0], features[refs[0]]
    if kind == "single":
        asked = {value for name in settings.metrics for value in METRICS[name]}
        found = _label_metrics.check_binary(asked, len(labels))
        return found + names_of_labels.check(settings, feature, column, labels)
    if kind == "numbers":
        found = names_of_labels.check_number(feature, column, "number")
        if len(labels) > 1:
            message = f"task_args.is_regression needs a model with one output, this one has {len(labels)} labels"
            found.append(("task_args", f"{message}; remove it, or choose another model"))
        return found
    item = cells.item(feature)
    if item is None:
        return [("dataset.ref_keys", f"column {column!r} must hold a list of labels per example, it is {feature}")]
    return names_of_labels.check(settings, item, column, labels)


def references(sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
    """The number of the label, 0 or 1 for every label, or the number, of each row; None where it has none."""
    if _agreement.unlabelled(sources):
        return _agreement.references(dataset)
    column, kind = sources.dataset.ref_keys[0], kind_of(sources)
    if kind == "numbers":
        return names_of_labels.numbers(dataset, column)
    if kind == "single":
        return names_of_labels.single(sources, dataset, column, labels)
    return _multi_hot.rows(sources, dataset, labels)


def prepare(sources: Sources, dataset: Any, processor: Any, model_config: Any) -> TextExamples:
    """Tokenize texts or pairs of texts, aligned with their references."""
    args = serving(sources, processor, model_config)
    columns = {key: list(dataset[column]) for key, column in sources.dataset.data_keys.items()}
    encoded = served.encode(names_of_labels.rows(columns), processor, args)
    unlabelled = _agreement.unlabelled(sources)
    read = cells.references(dataset)
    references = None if unlabelled else [tuple(value) if isinstance(value, list) else (value,) for value in read]
    limit = processor.facts.limit
    full = sum(cost == limit for cost in encoded.costs)
    notes = (f"{full} texts of the evaluation set reach the model's maximum of {limit} tokens and may be cut off",)
    made = {"inputs": encoded.inputs, "references": references, "kind": encoded.kind}
    return TextExamples(
        **vars(encoded),
        references=references,
        fingerprint=digest({**made, "processor": processor.known()}),
        notes=(
            *(_agreement.NOTES if unlabelled else ()),
            *(notes if full else ()),
            *processor.notes,
            *processor.doubts(encoded.inputs),
        ),
        labels=len(names_of_labels.of_model(model_config)),
    )


def serving(sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What texts are encoded and answered with, here and beside a deployed model."""
    kind = kind_of(sources)
    labels: list[JsonValue] = [] if kind == "numbers" else [*names_of_labels.of_model(model_config)]
    return {"pairs": "secondary" in sources.dataset.data_keys, "kind": kind, "labels": labels}


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> Prediction:
    """What ``served`` has; without labels also the share of each label, by which agreement is judged."""
    found = served.decode(outputs, row, encoded, index)
    if not isinstance(encoded, TextExamples) or encoded.references is not None:
        return found
    return (*found, *_agreement.rounded(served.certainty(outputs, row, encoded, index)))


def score(examples: TextExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Outcomes per example, and every metric that this kind of reference has."""
    if examples.references is None:
        return _agreed(examples, predictions, original)
    outcomes = tuple((*a, *b) for a, b in zip(examples.references, predictions, strict=True))
    half = len(outcomes[0]) // 2
    names = {"single": _label_metrics.SINGLE, "numbers": _label_metrics.NUMBERS}
    sets = tuple(f"{what} {number}" for what in _label_metrics.SINGLE for number in range(half))
    columns = names.get(examples.kind, sets)
    differ = _label_metrics.changed_numbers if examples.kind == "numbers" else _label_metrics.changed
    return Scores(
        metrics=metrics(columns, np.asarray(outcomes, dtype=np.float64), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=differ(predictions, original),
        columns=columns,
        outcomes=outcomes,
        notes=_label_metrics.doubts_of(outcomes) if examples.kind == "single" else (),
    )


def _agreed(examples: TextExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    if examples.kind == "numbers":
        columns, outcomes = _agreement.of_numbers(predictions, original)
    else:
        given = 1 if examples.kind == "single" else examples.labels
        columns, outcomes = _agreement.of_labels(predictions, original, given, one=examples.kind == "single")
    return _agreement.scores(columns, outcomes)


def metrics(
    columns: Sequence[str], outcomes: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]
) -> _label_metrics.Values:
    """Values of weighted outcomes, as ``_label_metrics`` gives them for this kind of reference."""
    if columns[0] == _agreement.AGREEMENT:
        return _agreement.metrics(columns, outcomes, weights)
    if tuple(columns) == _label_metrics.NUMBERS:
        return _label_metrics.of_numbers(outcomes, weights)
    single = tuple(columns) == _label_metrics.SINGLE
    return _label_metrics.of_labels(outcomes, weights) if single else _label_metrics.of_sets(outcomes, weights)

"""Question answering: a part of a context, or nothing where the context has no answer.

Contexts that are longer than the model takes are cut into overlapping windows, and the most certain answer over all
windows counts, by the rules of transformers' question-answering pipeline (4.57, its last version). Without answers, the
original's are the reference (``_agreement``).
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
from quantbench.schema.settings import Flag, Positive, Settings, Sources, TaskArgs
from quantbench.served import question_answering as served
from quantbench.sources import cells
from quantbench.sources import labels as names_of_labels
from quantbench.tasks import _agreement, _squad
from quantbench.tasks._label_metrics import Values, ratio
from quantbench.tasks._text import TextProcessor

SUMMARY = "an answer to a question as a part of its context"
PIPELINE_TAG = "question-answering"
AUTO_CLASS = "AutoModelForQuestionAnswering"
ARCHITECTURE_SUFFIX = "ForQuestionAnswering"
DATA_KEYS = ("question", "context")
PARTS = ("HasAns", "NoAns")
AGREED = (_agreement.AGREEMENT, "answer_overlap")
"""Whether an answer is the original's by SQuAD's rules, and the F1 of their words, from 0 to 1."""
METRICS: Mapping[str, tuple[str, ...]] = {
    "squad": ("exact_match", "f1"),
    "squad_v2": ("exact_match", "f1", *(f"{part}_{name}" for part in PARTS for name in ("exact_match", "f1"))),
    **{name: (name,) for name in AGREED},
}
OUTPUTS = {name: {0: "batch_size", 1: "sequence_length"} for name in ("start_logits", "end_logits")}
PROCESSOR = TextProcessor
SERVED = served
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
COLUMNS = ("exact_match", "f1", "answerable")


class Args(TaskArgs, extra="forbid"):
    """Options of this task, with the names and defaults of transformers' pipeline.

    ``max_seq_len`` tokens of question and context in one window (384, or what the model takes), ``doc_stride`` tokens
    that neighbouring windows share (128, or half of a window), ``max_answer_len`` in tokens, ``handle_impossible`` to
    answer nothing where that is more likely.
    """

    max_seq_len: Positive | None = None
    doc_stride: Positive | None = None
    max_answer_len: Positive = 15
    handle_impossible: Flag = False


RULES: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class QuestionExamples(served.Encoded):
    """Questions tokenized in windows, and the right answers.

    Attributes:
        references: answers of each question, none where it has none; None without answers.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    references: Sequence[Sequence[str]] | None
    fingerprint: str
    notes: tuple[str, ...]


def known_metrics(sources: Sources) -> tuple[str, ...]:
    """The metrics of both versions of SQuAD; without answers those of agreement."""
    return tuple(name for name in METRICS if (name in AGREED) == _agreement.unlabelled(sources))


def default_metrics(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of SQuAD 2 where a question may have no answer, otherwise those of SQuAD 1."""
    if _agreement.unlabelled(sources):
        return AGREED
    return ("squad_v2",) if typed(Args, sources).handle_impossible else ("squad",)


def default_limit(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
    """F1, in percent, may drop by 0.5, agreement by 0.02."""
    if _agreement.unlabelled(sources):
        return _agreement.AGREEMENT, _agreement.LIMIT
    return "f1", 0.5


def likelihood(sources: Sources) -> Likelihood:
    """``categorical``: one token of many, for the start and for the end."""
    return "categorical"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in the columns of a split, given its ``datasets.Features``."""
    wanted = {"question": "questions", "context": "contexts"}
    found = names_of_labels.columns(
        settings, features, split, wanted, example="answers", needed=_agreement.needs(settings)
    )
    if found:
        return found
    found = names_of_labels.no_texts(settings, features)
    if _agreement.unlabelled(settings):
        return found
    column = settings.dataset.ref_keys[0]
    feature = features[column]
    inner = cells.item(feature)
    text = getattr(feature, "dtype", None) in names_of_labels.TEXTS
    if not (isinstance(feature, Mapping) and "text" in feature) and inner is None and not text:
        message = f"column {column!r} must hold answers as SQuAD does ({{text: […], answer_start: […]}}), a list of "
        found.append(("dataset.ref_keys", f"{message}texts, or a text, it is {feature}"))
    return found


def check_model(sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """No mistakes: a model for this task gives beginnings and ends of answers only."""
    return []


def references(sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
    """The answers of each question; None where the cell is missing, or all rows are empty and each must be answered."""
    if _agreement.unlabelled(sources):
        return _agreement.references(dataset)
    found = [None if cells.missing(value) else _answers(value) for value in dataset[sources.dataset.ref_keys[0]]]
    if not typed(Args, sources).handle_impossible and not any(map(bool, found)):
        return [None] * len(found)
    return found


def prepare(sources: Sources, dataset: Any, processor: Any, model_config: Any) -> QuestionExamples:
    """Tokenize questions with their contexts in windows that share some tokens."""
    args = serving(sources, processor, model_config)
    columns = {key: list(dataset[sources.dataset.data_keys[key]]) for key in DATA_KEYS}
    encoded = served.encode(names_of_labels.rows(columns), processor, args)
    unlabelled = _agreement.unlabelled(sources)
    references = None if unlabelled else cells.references(dataset)
    owners = [window.example for window in encoded.windows]
    spans = [window.spans for window in encoded.windows]
    made = {"inputs": encoded.inputs, "owners": owners, "spans": spans, "contexts": encoded.contexts}
    questions, windows = len(encoded.contexts), len(encoded.windows)
    length = served.window_length(processor, args)
    notes = (f"{questions} questions are looked at in {windows} windows of at most {length} tokens",)
    return QuestionExamples(
        **vars(encoded),
        references=references,
        fingerprint=digest({**made, "references": references, "args": args, "processor": processor.known()}),
        notes=(
            *(_agreement.NOTES if unlabelled else ()),
            *(notes if windows > questions else ()),
            *processor.notes,
            *processor.doubts(encoded.inputs),
        ),
    )


def serving(sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What questions are encoded and answered with, here and beside a deployed model."""
    return typed(Args, sources).model_dump(mode="json")


def _answers(value: Any) -> list[str]:
    """The texts of an example's answers, in any of the forms that data sets have; the empty text is none."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, Mapping):
        return [str(text) for text in value["text"]]
    return [str(item["text"] if isinstance(item, Mapping) else item) for item in value or ()]


decode = served.decode


def answers(examples: QuestionExamples, predictions: Sequence[Prediction]) -> list[str]:
    """The answer of each question: the most certain text, or nothing."""
    return [text for text, _ in served.best(examples, predictions)]


def score(examples: QuestionExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Exact match and F1 in percent, over all questions and over those with and without an answer."""
    given, before = answers(examples, predictions), answers(examples, original)
    if examples.references is None:
        pairs = list(zip(given, before, strict=True))
        agreed = [[_squad.exact(one, other), _squad.f1(one, other)] for one, other in pairs]
        return _agreement.scores(AGREED, np.asarray(agreed))
    outcomes = tuple(
        (
            100 * _squad.best(_squad.exact, answer, references),
            100 * _squad.best(_squad.f1, answer, references),
            int(any(map(_squad.normalized, references))),
        )
        for answer, references in zip(given, examples.references, strict=True)
    )
    return Scores(
        metrics=metrics(COLUMNS, np.asarray(outcomes, dtype=np.float64), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=sum(a != b for a, b in zip(given, before, strict=True)),
        columns=COLUMNS,
        outcomes=outcomes,
    )


def metrics(columns: Sequence[str], outcomes: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> Values:
    """Means over the questions; 0 over no questions."""
    if tuple(columns) == AGREED:
        return _agreement.metrics(columns, outcomes, weights)
    answerable = outcomes[:, 2]
    groups = {"": weights, "HasAns_": weights * answerable, "NoAns_": weights * (1 - answerable)}
    found: Values = {}
    for part, counted in groups.items():
        total = counted.sum(axis=-1)
        for column, name in enumerate(("exact_match", "f1")):
            found[f"{part}{name}"] = ratio(counted @ outcomes[:, column], total)
    return found

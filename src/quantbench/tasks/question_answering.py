"""Question answering: a part of a context, or nothing where the context has no answer.

Contexts that are longer than the model takes are looked at in windows, and the answer that is most certain over all of
them counts, by the rules of transformers' question-answering pipeline (4.57, its last version).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from quantbench import labels as names_of_labels
from quantbench import squad
from quantbench.classification import Values, ratio
from quantbench.records import Scores
from quantbench.registry import Likelihood, Prediction
from quantbench.settings import Settings, digest
from quantbench.text import TextProcessor

SUMMARY = "an answer to a question as a part of its context"
PIPELINE_TAG = "question-answering"
AUTO_CLASS = "AutoModelForQuestionAnswering"
ARCHITECTURE_SUFFIX = "ForQuestionAnswering"
DATA_KEYS = ("question", "context")
ARGS = ("max_seq_len", "doc_stride", "max_answer_len", "handle_impossible")
PARTS = ("HasAns", "NoAns")
METRICS: Mapping[str, tuple[str, ...]] = {
    "squad": ("exact_match", "f1"),
    "squad_v2": ("exact_match", "f1", *(f"{part}_{name}" for part in PARTS for name in ("exact_match", "f1"))),
}
OUTPUTS = {name: {0: "batch_size", 1: "sequence_length"} for name in ("start_logits", "end_logits")}
PROCESSOR = TextProcessor
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
COLUMNS = ("exact_match", "f1", "answerable")
LENGTH, STRIDE = 384, 128
CANDIDATES = 12
"""Of each window; the pipeline's number when it is asked for one answer."""
IMPOSSIBLE = -10_000.0
"""Logit of a token that cannot be part of an answer."""
INFER_INPUT = '"question|context"'
INFER = '''
def show(text, processor, labels, run):
    """Print the most likely answer to the question before the first | in the context behind it."""
    question, _, context = text.partition("|")
    encoded = processor(question, context, truncation="only_second", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")
    start, end = run({name: np.array([values], dtype=np.int64) for name, values in encoded.items()})[:2]
    inside = np.array([place == 1 for place in encoded.sequence_ids()])
    pairs = np.where(inside, start[0], -1e4)[:, None] + np.where(inside, end[0], -1e4)[None, :]
    first, last = np.unravel_index(np.tril(np.triu(pairs - pairs.min() + 1), 14).argmax(), pairs.shape)
    print(context[offsets[first][0] : offsets[last][1]])
'''


@dataclass(frozen=True)
class Window:
    """A part of an example that the model looks at at once.

    Attributes:
        example: whose part it is.
        allowed: whether each token may be part of an answer.
        spans: first character in the context, and the one behind the last, of each token's word; None outside.

    """

    example: int
    allowed: tuple[bool, ...]
    spans: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class QuestionExamples:
    """Questions in windows.

    Attributes:
        inputs: token values by input name, one mapping per window.
        costs: tokens of each window.
        windows: what else is known of each.
        contexts: of each question.
        references: answers of each question, none where it has none.
        longest: tokens of an answer.
        impossible: whether nothing may be answered.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    costs: Sequence[int]
    windows: Sequence[Window]
    contexts: Sequence[str]
    references: Sequence[Sequence[str]]
    longest: int
    impossible: bool
    fingerprint: str
    notes: tuple[str, ...]


def known_metrics(settings: Settings) -> tuple[str, ...]:
    """Both."""
    return tuple(METRICS)


def default_metrics(settings: Settings) -> tuple[str, ...]:
    """The second version's where nothing may be answered."""
    return ("squad_v2",) if settings.task_args.handle_impossible else ("squad",)


def default_limit(settings: Settings) -> tuple[str, float]:
    """Half of a point of 100 of F1."""
    return "f1", 0.5


def likelihood(settings: Settings) -> Likelihood:
    """One token of many for either end."""
    return "categorical"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in the columns of a split, given its ``datasets.Features``."""
    wanted = {"question": "questions", "context": "contexts"}
    found = names_of_labels.columns(settings, features, split, wanted, example="answers")
    if found:
        return found
    found = names_of_labels.no_texts(settings, features)
    column = settings.dataset.ref_keys[0]
    feature = features[column]
    inner = names_of_labels.item(feature)
    if not (isinstance(feature, Mapping) and "text" in feature) and inner is None:
        message = f"column {column!r} must hold answers as SQuAD does ({{text: […], answer_start: […]}}), or a list of "
        found.append(("dataset.ref_keys", f"{message}texts, it is {feature}"))
    return found


def prepare(settings: Settings, dataset: Any, processor: Any, model_config: Any) -> QuestionExamples:
    """Tokenize questions with their contexts in windows that share some tokens."""
    args, tokenizer = settings.task_args, processor.raw
    questions, contexts = (list(dataset[settings.dataset.data_keys[key]]) for key in DATA_KEYS)
    limit = processor.max_length(model_config) or LENGTH
    length = min(args.max_seq_len or LENGTH, limit)
    stride = args.doc_stride or min(length // 2, STRIDE)
    encoded = tokenizer(
        questions,
        contexts,
        truncation="only_second",
        max_length=length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners = encoded.pop("overflow_to_sample_mapping")
    offsets = encoded.pop("offset_mapping")
    names = list(encoded.keys())
    inputs = [{name: encoded[name][index] for name in names} for index in range(len(owners))]
    windows = [
        _window(encoded, index, owner, offsets[index], tokenizer.cls_token_id) for index, owner in enumerate(owners)
    ]
    references = [_answers(value) for value in dataset[settings.dataset.ref_keys[0]]]
    made = {"inputs": inputs, "owners": owners, "contexts": contexts, "references": references}
    split = len(owners) - len(contexts)
    notes = (f"{len(contexts)} questions are looked at in {len(owners)} windows of at most {length} tokens",)
    return QuestionExamples(
        inputs=inputs,
        costs=[len(window["input_ids"]) for window in inputs],
        windows=windows,
        contexts=contexts,
        references=references,
        longest=args.max_answer_len,
        impossible=args.handle_impossible,
        fingerprint=digest({**made, "task_args": args.model_dump(mode="json")}),
        notes=notes if split else (),
    )


def _window(encoded: Any, index: int, example: int, offsets: Any, cls: int | None) -> Window:
    """Tokens of the context may be answers; that for the whole text has its share of certainty, as in the pipeline.

    Answers are whole words; where a tokenizer knows of none, tokens.
    """
    ids, places = encoded["input_ids"][index], encoded.sequence_ids(index)
    spans: list[tuple[int, int] | None] = []
    for token, place in enumerate(places):
        if place != 1:
            spans.append(None)
            continue
        word = encoded.token_to_word(index, token)
        span = offsets[token] if word is None else encoded.word_to_chars(index, word, 1)
        spans.append((int(span[0]), int(span[1])))
    allowed = tuple(place == 1 or ids[token] == cls for token, place in enumerate(places))
    return Window(example, allowed, tuple(spans))


def _answers(value: Any) -> list[str]:
    """The texts of an example's answers, in any of the forms that data sets have."""
    if isinstance(value, Mapping):
        return [str(text) for text in value["text"]]
    return [str(item["text"] if isinstance(item, Mapping) else item) for item in value or ()]


def decode(outputs: Sequence[np.ndarray[Any, Any]], row: int, examples: QuestionExamples, index: int) -> Prediction:
    """Certainty of no answer, then certainty, first character and the one behind the last of each of the best answers.

    Args:
        outputs: logits of starts and of ends, shape (batch, tokens) each.
        row: the window's place in the batch.
        examples: the examples.
        index: the window's place among all.

    """
    window = examples.windows[index]
    allowed = np.array(window.allowed)
    start, end = (_shares(output[row][: len(allowed)], allowed) for output in outputs[:2])
    found = [float(start[0] * end[0])]
    start[0] = end[0] = 0.0
    pairs = np.tril(np.triu(np.outer(start, end)), examples.longest - 1)
    for place in np.argsort(-pairs, axis=None, kind="stable")[:CANDIDATES]:
        first, last = (int(token) for token in np.unravel_index(place, pairs.shape))
        spans = window.spans[first], window.spans[last]
        if pairs[first, last] > 0 and spans[0] is not None and spans[1] is not None:
            found += [float(pairs[first, last]), spans[0][0], spans[1][1]]
    return tuple(found)


def _shares(logits: np.ndarray[Any, Any], allowed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Softmax over the tokens that may be answers."""
    kept = np.where(allowed, logits, IMPOSSIBLE)
    powers = np.exp(kept - kept.max())
    shares: np.ndarray[Any, Any] = powers / powers.sum()
    return shares


def answers(examples: QuestionExamples, predictions: Sequence[Prediction]) -> list[str]:
    """The answer of each question: the most certain text, or nothing.

    The certainty of a text is the sum over all candidates of all windows that read the same but for capitals.
    """
    found = []
    pairs = zip(examples.windows, predictions, strict=True)
    for example, group in groupby(pairs, key=lambda pair: pair[0].example):
        windows = [prediction for _, prediction in group]
        context = examples.contexts[example]
        texts: dict[str, str] = {}
        certain: dict[str, float] = {}
        for window in windows:
            for score, first, behind in zip(window[1::3], window[2::3], window[3::3], strict=True):
                text = context[int(first) : int(behind)]
                texts.setdefault(text.lower(), text)
                certain[text.lower()] = certain.get(text.lower(), 0.0) + score
        best = max(certain, key=lambda text: certain[text], default="")
        nothing = min(window[0] for window in windows)
        empty = examples.impossible and nothing > certain.get(best, 0.0)
        found.append("" if empty else texts.get(best, ""))
    return found


def score(examples: QuestionExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Exact match and F1 in percent, over all questions and over those with and without an answer."""
    given, before = answers(examples, predictions), answers(examples, original)
    outcomes = tuple(
        (
            100 * squad.best(squad.exact, answer, references),
            100 * squad.best(squad.f1, answer, references),
            int(any(map(squad.normalized, references))),
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
    answerable = outcomes[:, 2]
    groups = {"": weights, "HasAns_": weights * answerable, "NoAns_": weights * (1 - answerable)}
    found: Values = {}
    for part, counted in groups.items():
        total = counted.sum(axis=-1)
        for column, name in enumerate(("exact_match", "f1")):
            found[f"{part}{name}"] = ratio(counted @ outcomes[:, column], total)
    return found

"""Questions to a part of their context, or to nothing where a context has no answer.

Contexts that are longer than the model takes are looked at in windows, and the answer that is most certain over all of
them counts, by the rules of transformers' question-answering pipeline (4.57, its last version).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from . import sure, tokens

USAGE = "a question and its context, one after the other"
OPTIONAL: tuple[str, ...] = ()
"""Fields that a row may have besides."""
LENGTH, STRIDE = 384, 128
CANDIDATES = 12
"""Of each window; the pipeline's number when it is asked for one answer."""
IMPOSSIBLE = -10_000.0
"""Logit of a token that cannot be part of an answer."""
CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff\uff66-\uff9f"
SOUTH_EAST = "\u0e01-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"
WITHOUT_BLANKS = re.compile(f"[{CHINESE}{KANA}{SOUTH_EAST}]")
"""Characters of scripts without blanks between words: Chinese, Japanese, Thai, Lao, Tibetan, Burmese and Khmer."""


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
class Encoded:
    """Questions in windows.

    Attributes:
        inputs: token values by input name, one mapping per window.
        costs: tokens of each window.
        windows: what else is known of each.
        contexts: of each question.
        longest: tokens of an answer.
        impossible: whether nothing may be answered.

    """

    inputs: Sequence[Mapping[str, Sequence[int]]]
    costs: Sequence[int]
    windows: Sequence[Window]
    contexts: Sequence[str]
    longest: int
    impossible: bool


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has."""
    return ("question", "context")


def window_length(processor: Any, args: Mapping[str, Any]) -> int:
    """Tokens of one window at most."""
    return min(args["max_seq_len"] or LENGTH, processor.facts.limit or LENGTH)


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Tokenize questions with their contexts in windows that share some tokens.

    Args:
        rows: ``question`` and ``context``.
        processor: a ``tokens.Tokens``.
        args: ``max_seq_len``, ``doc_stride``, ``max_answer_len`` and ``handle_impossible``, as in ``task_args``.

    """
    contexts = [row["context"] for row in rows]
    length = window_length(processor, args)
    encoded = processor.encode(
        [row["question"] for row in rows],
        contexts,
        length,
        truncation="only_second",
        stride=args["doc_stride"] or min(length // 2, STRIDE),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, offsets = encoded["overflow_to_sample_mapping"], encoded["offset_mapping"]
    inputs = processor.inputs(encoded)
    cls = processor.raw.cls_token_id
    return Encoded(
        inputs=inputs,
        costs=tokens.costs(inputs),
        windows=[
            _window(encoded, index, owner, contexts[owner], offsets[index], cls) for index, owner in enumerate(owners)
        ],
        contexts=contexts,
        longest=args["max_answer_len"],
        impossible=args["handle_impossible"],
    )


def _window(encoded: Any, index: int, example: int, context: str, offsets: Any, cls: int | None) -> Window:
    """Tokens of the context may be answers; that for the whole text has its share of certainty, as in the pipeline.

    Answers are whole words, as the pipeline aligns them; tokens (its ``align_to_words=False``) where a tokenizer knows
    of no words, and in scripts without blanks, where what a tokenizer takes for a word may be a whole sentence.
    """
    ids, places = encoded["input_ids"][index], encoded.sequence_ids(index)
    spans: list[tuple[int, int] | None] = []
    for token, place in enumerate(places):
        if place != 1:
            spans.append(None)
            continue
        word = encoded.token_to_word(index, token)
        span = offsets[token] if word is None else encoded.word_to_chars(index, word, 1)
        if WITHOUT_BLANKS.search(context[span[0] : span[1]]):
            span = offsets[token]
        spans.append((int(span[0]), int(span[1])))
    allowed = tuple(place == 1 or ids[token] == cls for token, place in enumerate(places))
    return Window(example, allowed, tuple(spans))


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """Certainty of no answer, then certainty, first character and the one behind the last of each of the best answers.

    Args:
        outputs: logits of starts and of ends, shape (batch, tokens) each.
        row: the window's place in the batch.
        encoded: the questions.
        index: the window's place among all.

    """
    window = encoded.windows[index]
    allowed = np.array(window.allowed)
    start, end = (sure.softmax(np.where(allowed, output[row][: len(allowed)], IMPOSSIBLE)) for output in outputs[:2])
    found = [float(start[0] * end[0])]
    start[0] = end[0] = 0.0
    pairs = np.tril(np.triu(np.outer(start, end)), encoded.longest - 1)
    for place in np.argsort(-pairs, axis=None, kind="stable")[:CANDIDATES]:
        first, last = (int(token) for token in np.unravel_index(place, pairs.shape))
        spans = window.spans[first], window.spans[last]
        if pairs[first, last] > 0 and spans[0] is not None and spans[1] is not None:
            found += [float(pairs[first, last]), spans[0][0], spans[1][1]]
    return tuple(found)


certainty = sure.unsaid


def best(encoded: Any, predictions: Sequence[Sequence[float]]) -> list[tuple[str, float]]:
    """The answer of each question, the most certain text or nothing, and its certainty.

    The certainty of a text is the sum over all candidates of all windows that read the same but for capitals.
    """
    found = []
    pairs = zip(encoded.windows, predictions, strict=True)
    for example, group in groupby(pairs, key=lambda pair: pair[0].example):
        windows = [prediction for _, prediction in group]
        context = encoded.contexts[example]
        texts: dict[str, str] = {}
        certain: dict[str, float] = {}
        for window in windows:
            for score, first, behind in zip(window[1::3], window[2::3], window[3::3], strict=True):
                text = context[int(first) : int(behind)]
                texts.setdefault(text.lower(), text)
                certain[text.lower()] = certain.get(text.lower(), 0.0) + score
        likeliest = max(certain, key=lambda text, of=certain: of[text], default="")  # type: ignore[misc]
        nothing = min(window[0] for window in windows)
        if encoded.impossible and nothing > certain.get(likeliest, 0.0):
            found.append(("", nothing))
        else:
            found.append((texts.get(likeliest, ""), certain.get(likeliest, 0.0)))
    return found


def answers(
    encoded: Any,
    predictions: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    args: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The ``answer`` to each question, empty where there is none, and the ``score``, how certain it is."""
    return [{"answer": text, "score": round(score, sure.DIGITS)} for text, score in best(encoded, predictions)]


def show(answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The answer alone."""
    return str(answer["answer"]) or "no answer"

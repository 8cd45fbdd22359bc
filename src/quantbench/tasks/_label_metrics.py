"""Metrics of single labels, of sets of labels and of numbers, over examples with weights.

Weights may have any axes before that of the examples, such as one row per draw of a bootstrap; values then have these.

All equal scikit-learn's (with ``zero_division=0``) and scipy's; a metric that has no value for some examples, such as
the correlation of equal numbers, is 0. They are written here because these libraries take one row of weights at a time,
which would make the thousands of draws of a bootstrap slow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Values = dict[str, Any]
"""Metric values by name: numbers, or arrays where there are several rows of weights."""
SINGLE = ("reference", "prediction")
"""Columns of outcomes where an example has one label; both hold the label's number."""
NUMBERS = ("expected", "predicted")
"""Columns of outcomes where a model gives a number."""
AVERAGES = ("macro", "micro", "weighted")
AVERAGED = tuple(f"{name}_{average}" for average in AVERAGES for name in ("precision", "recall", "f1"))
BINARY = ("precision", "recall", "f1")
"""Values for the second of two labels alone."""
MULTI_LABEL_METRICS: Mapping[str, tuple[str, ...]] = {name: (name,) for name in ("accuracy", *AVERAGED)}
LABEL_METRICS: Mapping[str, tuple[str, ...]] = {
    **MULTI_LABEL_METRICS,
    **{name: (name,) for name in (*BINARY, "matthews_correlation")},
}
NUMBER_METRICS: Mapping[str, tuple[str, ...]] = {name: (name,) for name in ("pearson", "spearmanr")}
FEWEST = 8
"""Examples below which it says nothing that always giving one label is as good."""
SAME = 0.01
"""Numbers that differ by less than this share of the original's standard deviation count as unchanged."""


def ratio(part: Array, whole: Array) -> Array:
    """``part / whole`` element by element, 0 where the whole is 0; a plain number where both are."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    found: Array = np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole != 0)
    return found[()]


def doubts(right: float, commonest: float, what: str = "examples") -> tuple[str, ...]:
    """The note on predictions that are no better than always giving the commonest label.

    Args:
        right: share of what was predicted rightly.
        commonest: share of the commonest reference; 1 where there is no other.
        what: is labelled.

    """
    if right > commonest or commonest == 1:
        return ()
    return (
        f"{100 * right:.1f} % of the {what} are labelled rightly, and always giving the commonest label is right on "
        f"{100 * commonest:.1f} %: see whether data and model belong together (dataset.data_keys, ref_keys, "
        "label_names, label_map, the tokenizer)",
    )


def doubts_of(outcomes: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """:func:`doubts` of rows that begin with the numbers of the reference and of the prediction; none of a few rows."""
    if len(outcomes) < FEWEST:
        return ()
    counts = Counter(reference for reference, *_ in outcomes)
    right = sum(row[0] == row[1] for row in outcomes)
    return doubts(right / len(outcomes), max(counts.values()) / len(outcomes))


def of_labels(outcomes: Array, weights: Array) -> Values:
    """Metrics of one label per example.

    Args:
        outcomes: numbers of the reference and of the predicted label, shape (examples, 2).
        weights: shape (..., examples).

    """
    reference, prediction = outcomes[:, 0].astype(np.int64), outcomes[:, 1].astype(np.int64)
    size = int(max(reference.max(), prediction.max())) + 1
    wanted, given = _summed(weights, reference, size), _summed(weights, prediction, size)
    right = _summed(weights * (reference == prediction), reference, size)
    total = weights.sum(axis=-1)
    found = {"accuracy": ratio(right.sum(axis=-1), total), **_averaged(right, wanted, given, wanted + given > 0)}
    if size <= len(SINGLE):
        found.update(zip(BINARY, (each[..., -1] for each in _ratios(right, wanted, given)), strict=True))
        if size == 1:
            found.update(dict.fromkeys(BINARY, np.zeros(total.shape)[()]))
    spread = (total**2 - (given * given).sum(axis=-1)) * (total**2 - (wanted * wanted).sum(axis=-1))
    covariance = right.sum(axis=-1) * total - (given * wanted).sum(axis=-1)
    found["matthews_correlation"] = ratio(covariance, np.sqrt(np.maximum(spread, 0.0)))
    return found


def of_sets(outcomes: Array, weights: Array) -> Values:
    """Metrics of any number of labels per example.

    Args:
        outcomes: 0 or 1 for every label of the reference, then for every predicted label, shape (examples, 2 labels).
        weights: shape (..., examples).

    """
    middle = outcomes.shape[1] // 2
    reference, prediction = outcomes[:, :middle], outcomes[:, middle:]
    right, wanted, given = weights @ (reference * prediction), weights @ reference, weights @ prediction
    same = (reference == prediction).all(axis=1)
    averaged = _averaged(right, wanted, given, np.ones(middle, dtype=bool))
    return {"accuracy": ratio(weights @ same, weights.sum(axis=-1)), **averaged}


def of_counts(right: Array, wanted: Array, given: Array, total: Array) -> Values:
    """Metrics of one label per word from counts of each label, shape (…, labels), and of all words, shape (…).

    Labels that occur nowhere are left out of averages.
    """
    averaged = _averaged(right, wanted, given, wanted + given > 0)
    return {"accuracy": ratio(right.sum(axis=-1), total), **averaged}


def of_numbers(outcomes: Array, weights: Array) -> Values:
    """Pearson's and Spearman's correlation of expected and predicted numbers.

    Args:
        outcomes: expected and predicted, shape (examples, 2).
        weights: shape (..., examples).

    """
    first, second = outcomes.T
    ranks = _ranks(first, weights), _ranks(second, weights)
    return {"pearson": _correlation(first, second, weights), "spearmanr": _correlation(*ranks, weights)}


def check_binary(asked: Collection[str], labels: int) -> list[tuple[str, str]]:
    """The mistake of asking for a metric of two labels where there are more, as (dotted key, message)."""
    binary = sorted(set(asked) & set(BINARY))
    if not binary or labels <= len(SINGLE):
        return []
    name = binary[0]
    message = f"metric {name} is for two labels, the model has {labels}; use {name}_macro, _micro or _weighted"
    return [("metrics", message)]


def changed(predictions: Sequence[Sequence[float]], original: Sequence[Sequence[float]]) -> int:
    """Number of predictions that are not the original's."""
    return sum(a != b for a, b in zip(predictions, original, strict=True))


def changed_numbers(predictions: Sequence[Sequence[float]], original: Sequence[Sequence[float]]) -> int:
    """Number of predicted numbers that differ by more than ``SAME`` of the original's standard deviation."""
    first, second = np.asarray(predictions), np.asarray(original)
    return int((np.abs(first - second) > SAME * second.std()).any(axis=1).sum())


def _summed(weights: Array, labels: Array, size: int) -> Array:
    """Weights of the examples of every label, shape (..., size)."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    found = np.zeros((*weights.shape[:-1], size))
    found[..., present] = np.add.reduceat(weights[..., order], starts, axis=-1)
    return found


def _ratios(right: Array, wanted: Array, given: Array) -> tuple[Array, Array, Array]:
    """Precision, recall and F1 of every label; 0 where nothing is counted."""
    return ratio(right, given), ratio(right, wanted), ratio(2 * right, wanted + given)


def _averaged(right: Array, wanted: Array, given: Array, there: Array) -> Values:
    """Values of ``AVERAGED``; labels that are not ``there`` are left out of the macro average."""
    each, labels = _ratios(right, wanted, given), there.sum(axis=-1)
    macro = [ratio((values * there).sum(axis=-1), labels) for values in each]
    micro = _ratios(*(part.sum(axis=-1) for part in (right, wanted, given)))
    weighted = [ratio((values * wanted).sum(axis=-1), wanted.sum(axis=-1)) for values in each]
    return dict(zip(AVERAGED, (*macro, *micro, *weighted), strict=True))


def _ranks(values: Array, weights: Array) -> Array:
    """Ranks of values that count as often as they weigh, ties at their middle; in the shape of the weights."""
    _, place = np.unique(values, return_inverse=True)
    counts = _summed(weights, place, int(place.max()) + 1)
    return (np.cumsum(counts, axis=-1) - (counts - 1) / 2)[..., place]


def _correlation(first: Array, second: Array, weights: Array) -> Array:
    total = weights.sum(axis=-1, keepdims=True)
    one, other = (each - (weights * each).sum(axis=-1, keepdims=True) / total for each in (first, second))
    spread = np.sqrt((weights * one * one).sum(axis=-1) * (weights * other * other).sum(axis=-1))
    return ratio((weights * one * other).sum(axis=-1), spread)

"""Metrics of single labels, of sets of labels and of numbers, from examples that count so often.

All equal scikit-learn's (with ``zero_division=0``) and scipy's; a metric that has no value for some examples, such as
the correlation of equal numbers, is 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SINGLE = ("reference", "prediction")
"""Columns of outcomes: numbers of labels."""
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
SAME = 0.01
"""Numbers that differ by less than this share of the original's standard deviation count as unchanged."""


def of_labels(outcomes: Array, weights: Array) -> dict[str, float]:
    """Metrics of one label per example.

    Args:
        outcomes: numbers of the reference and of the predicted label, shape (examples, 2).
        weights: shape (examples,).

    """
    reference, prediction = outcomes[:, 0].astype(np.int64), outcomes[:, 1].astype(np.int64)
    size = int(max(reference.max(), prediction.max())) + 1
    table = np.bincount(reference * size + prediction, weights, size * size).reshape(size, size)
    right, wanted, given = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    found = {"accuracy": _share(right.sum(), table.sum()), **_averaged(right, wanted, given, wanted + given > 0)}
    if size <= len(SINGLE):
        found.update(zip(BINARY, _ratios(right[-1:], wanted[-1:], given[-1:])[:, 0].tolist(), strict=True))
        if size == 1:
            found.update(dict.fromkeys(BINARY, 0.0))
    total = table.sum()
    spread = (total**2 - given @ given) * (total**2 - wanted @ wanted)
    covariance = right.sum() * total - given @ wanted
    found["matthews_correlation"] = float(covariance / np.sqrt(spread)) if spread > 0 else 0.0
    return found


def of_sets(outcomes: Array, weights: Array) -> dict[str, float]:
    """Metrics of any number of labels per example.

    Args:
        outcomes: 0 or 1 for every label of the reference, then for every predicted label, shape (examples, 2 labels).
        weights: shape (examples,).

    """
    middle = outcomes.shape[1] // 2
    reference, prediction = outcomes[:, :middle], outcomes[:, middle:]
    right, wanted, given = weights @ (reference * prediction), weights @ reference, weights @ prediction
    same = (reference == prediction).all(axis=1)
    averaged = _averaged(right, wanted, given, np.ones(middle, dtype=bool))
    return {"accuracy": _share(weights @ same, weights.sum()), **averaged}


def of_numbers(outcomes: Array, weights: Array) -> dict[str, float]:
    """Correlations of numbers.

    Args:
        outcomes: expected and predicted, shape (examples, 2).
        weights: shape (examples,).

    """
    ranks = np.stack([_ranks(column, weights) for column in outcomes.T], axis=1)
    return {"pearson": _correlation(outcomes, weights), "spearmanr": _correlation(ranks, weights)}


def check_binary(asked: Collection[str], labels: int) -> list[tuple[str, str]]:
    """The mistake of asking for a value for two labels where there are more, as (dotted key, message)."""
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


def _ratios(right: Array, wanted: Array, given: Array) -> Array:
    """Precision, recall and F1, shape (3, labels); 0 where nothing is counted."""

    def ratio(part: Array, whole: Array) -> Array:
        return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)

    return np.stack([ratio(right, given), ratio(right, wanted), ratio(2 * right, wanted + given)])


def _averaged(right: Array, wanted: Array, given: Array, there: Array) -> dict[str, float]:
    """Values of ``AVERAGED``; labels that are not ``there`` are left out of the macro average."""
    each = _ratios(right, wanted, given)
    total = _ratios(*(np.array([part.sum()]) for part in (right, wanted, given)))[:, 0]
    macro = each[:, there].mean(axis=1) if there.any() else np.zeros(3)
    weighted = each @ wanted / wanted.sum() if wanted.sum() else np.zeros(3)
    values = np.concatenate([macro, total, weighted]).tolist()
    return dict(zip(AVERAGED, values, strict=True))


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def _ranks(values: Array, weights: Array) -> Array:
    """Ranks where every value stands there as often as it weighs, equal ones in the middle."""
    _, place = np.unique(values, return_inverse=True)
    counts = np.bincount(place, weights)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _correlation(pairs: Array, weights: Array) -> float:
    total = weights.sum()
    centred = pairs - weights @ pairs / total
    covariance = (centred * weights[:, None]).T @ centred
    spread = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    return float(covariance[0, 1]) / spread if spread > 0 else 0.0

"""Agreement with the original, where nothing says what is right: its own predictions are the reference.

Values have names of their own, so that none is taken for one of labels. The original agrees with itself wholly; what a
version loses is what it says otherwise, whether rightly or not. Where a share of predictions changes, accuracy cannot
drop by more than that share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantbench.plugins import registry
from quantbench.schema.results import Scores
from quantbench.schema.settings import Settings, Sources
from quantbench.sources.cells import NO_LABELS
from quantbench.tasks import _label_metrics
from quantbench.tasks._label_metrics import Array, Values, ratio

AGREEMENT = "agreement"
"""The share of predictions that are the original's."""
OVERLAP = "overlap"
"""The mean of what both distributions of labels have in common, which is 1 less their total variation distance."""
CORRELATION = "correlation_with_original"
"""Pearson's, of numbers."""
METRICS: Mapping[str, tuple[str, ...]] = {name: (name,) for name in (AGREEMENT, OVERLAP, CORRELATION)}
LABELS = (AGREEMENT, OVERLAP)
NUMBERS = (AGREEMENT, "original", "predicted")
LIMIT = 0.02
"""What agreement may lose by default."""
MOST = 100
"""Labels of which the shares are kept; the overlap of more is not computed."""
DIGITS = 6
"""Of a share."""
NOTES = (NO_LABELS,)


def unlabelled(sources: Sources) -> bool:
    """Whether no column of references is named, so that the original's predictions are the reference."""
    return not sources.dataset.ref_keys


def needs(sources: Sources) -> bool:
    """Whether a task that checks its data as one of this folder does needs references: it has no agreement."""
    return AGREEMENT not in registry.task(sources.task).METRICS


def metrics_of(kind: str) -> tuple[str, ...]:
    """Those of ``numbers``, or of labels."""
    return (AGREEMENT, CORRELATION) if kind == "numbers" else LABELS


def check(settings: Settings, labels: Sequence[str], kind: str) -> list[tuple[str, str]]:
    """Mistakes in metrics as (dotted key, message): those of labels, and the overlap of more than are compared."""
    wrong = [name for name in settings.metrics if name not in metrics_of(kind)]
    if wrong:
        message = f"metric {wrong[0]} is not for this kind of labels, which are none"
        return [("metrics", f"{message}; there is: {', '.join(metrics_of(kind))}")]
    if OVERLAP not in settings.metrics or len(labels) <= MOST:
        return []
    return [("metrics", f"{OVERLAP} is of {MOST} labels at most, the model has {len(labels)}; use {AGREEMENT}")]


def references(dataset: Any) -> list[float]:
    """What stands in the place of each row's reference: every row counts."""
    return [0.0] * len(dataset)


def rounded(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares as predictions hold them; none of more labels than ``MOST``."""
    return tuple(round(share, DIGITS) for share in shares) if len(shares) <= MOST else ()


def of_labels(
    predictions: Sequence[Sequence[float]], original: Sequence[Sequence[float]], given: int, one: bool
) -> tuple[tuple[str, ...], Array]:
    """Columns and outcomes of labels and their shares.

    Args:
        predictions: the numbers that are the prediction, then the share of each label.
        original: likewise.
        given: how many numbers are the prediction.
        one: whether exactly one label holds, so that shares add up to 1; otherwise each is a share by itself.

    """
    found, before = np.asarray(predictions, dtype=np.float64), np.asarray(original, dtype=np.float64)
    same = (found[:, :given] == before[:, :given]).all(axis=1).astype(np.float64)
    if found.shape[1] == given:
        return (AGREEMENT,), same[:, None]
    apart = np.abs(found[:, given:] - before[:, given:])
    return LABELS, np.stack([same, 1 - (apart.sum(axis=1) / 2 if one else apart.mean(axis=1))], axis=1)


def of_numbers(
    predictions: Sequence[Sequence[float]], original: Sequence[Sequence[float]]
) -> tuple[tuple[str, ...], Array]:
    """Columns and outcomes of numbers, which agree as long as :func:`_label_metrics.changed_numbers` has it."""
    found, before = np.asarray(predictions)[:, 0], np.asarray(original)[:, 0]
    same = np.abs(found - before) <= _label_metrics.SAME * before.std()
    return NUMBERS, np.stack([same.astype(np.float64), before, found], axis=1)


def scores(columns: Sequence[str], outcomes: Array) -> Scores:
    """Scores of outcomes whose first column is 1 where an example's prediction is the original's."""
    return Scores(
        metrics=metrics(columns, outcomes, np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=int((outcomes[:, 0] < 1).sum()),
        columns=tuple(columns),
        outcomes=tuple(tuple(row) for row in outcomes.tolist()),
    )


def metrics(columns: Sequence[str], outcomes: Array, weights: Array) -> Values:
    """Means over the examples, and of numbers their correlation."""
    total = weights.sum(axis=-1)
    if tuple(columns) == NUMBERS:
        pairs = _label_metrics.of_numbers(outcomes[:, 1:], weights)
        return {AGREEMENT: ratio(weights @ outcomes[:, 0], total), CORRELATION: pairs["pearson"]}
    return {name: ratio(weights @ outcomes[:, place], total) for place, name in enumerate(columns)}

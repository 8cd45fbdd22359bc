"""Which units stay: those that are worth most for what they cost, in numbers that processors like. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MULTIPLE = 32
"""Layers keep a multiple of so many values: int8 products are computed in blocks of 16 to 64 columns."""


def staying(
    scores: Mapping[str, Array], costs: Mapping[str, float], share: float, multiple: int = 1
) -> dict[str, Array]:
    """Numbers of the units that stay in every layer, in order.

    Over all layers those are taken first whose score is lowest for their cost (Kwon et al., 2022, section 4.2), until
    the share of the cost is taken; then every layer is rounded to the nearest multiple, one at least, and keeps its
    best.

    Args:
        scores: by layer, shape (units,).
        costs: of one unit, by layer.
        share: of all that units cost, 0 to 1.
        multiple: of units that a layer keeps.

    """
    worth = np.concatenate([values / costs[name] for name, values in scores.items()])
    cost = np.concatenate([np.full(len(values), costs[name]) for name, values in scores.items()])
    order = np.argsort(worth, kind="stable")
    taken = np.empty(len(order), dtype=bool)
    taken[order] = np.cumsum(cost[order]) <= share * cost.sum()
    found, start = {}, 0
    for name, values in scores.items():
        left = len(values) - int(taken[start : start + len(values)].sum())
        count = min(len(values), max(multiple, multiple * round(left / multiple)))
        found[name] = np.sort(np.argsort(-values, kind="stable")[:count])
        start += len(values)
    return found

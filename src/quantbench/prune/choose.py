"""Which neurons stay: those that are worth most for what they cost, in numbers that processors like. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MULTIPLE = 32
"""Layers keep a multiple of so many neurons: int8 products are computed in blocks of 16 to 64 columns."""


def staying(scores: Mapping[str, Array], costs: Mapping[str, float], share: float) -> dict[str, Array]:
    """Numbers of the neurons that stay in every layer, in order.

    Over all layers those are taken first whose score is lowest for their cost (Kwon et al., 2022, section 4.2), until
    the share of the cost is taken; then every layer is rounded to ``MULTIPLE``, to the nearest and one multiple at
    least, and keeps its best.

    Args:
        scores: by layer, shape (neurons,).
        costs: of one neuron, by layer.
        share: of all that neurons cost, 0 to 1.

    """
    worth = np.concatenate([values / costs[name] for name, values in scores.items()])
    cost = np.concatenate([np.full(len(values), costs[name]) for name, values in scores.items()])
    order = np.argsort(worth, kind="stable")
    taken = np.empty(len(order), dtype=bool)
    taken[order] = np.cumsum(cost[order]) <= share * cost.sum()
    found, start = {}, 0
    for name, values in scores.items():
        left = len(values) - int(taken[start : start + len(values)].sum())
        count = min(len(values), max(MULTIPLE, MULTIPLE * round(left / MULTIPLE)))
        found[name] = np.sort(np.argsort(-values, kind="stable")[:count])
        start += len(values)
    return found

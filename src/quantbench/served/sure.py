"""How sure a model is of its labels: shares of certainty as answers give them and as a reader is shown them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

DIGITS = 6
"""Of a share that an answer gives."""
TOP = 5
"""Labels in an answer where one of many holds, the likeliest first."""
SHOWN = 3
"""Of these, what a reader is shown."""


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The shares of a row of logits, which add up to 1, in the logits' own precision."""
    powers = np.exp(logits - logits.max())
    shares: np.ndarray[Any, Any] = powers / powers.sum()
    return shares


def unsaid(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """The ``certainty`` of a task whose answers give none, or give what stands in the prediction."""
    return ()


def named(names: Iterable[str], shares: Iterable[float]) -> dict[str, float]:
    """Shares by the names of their labels, rounded."""
    return {name: round(share, DIGITS) for name, share in zip(names, shares, strict=True)}


def shown(scores: Mapping[str, float], names: Iterable[str]) -> str:
    """A line per label with its share."""
    return "\n".join(f"{name}\t{scores[name]:.4f}" for name in names)

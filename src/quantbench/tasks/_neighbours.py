"""Nearest neighbours of embeddings: how many of the original's stay among the nearest.

Neighbours are by cosine, as search has them. Equal texts are equally near, so that which of them is counted must not
matter: a neighbour is kept if it is as near as the last of the new nearest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
NEAREST = 10
"""Neighbours of a text."""
AMONG = 5000
"""Texts among which they are looked for, spread evenly over all; the time grows with this times all texts."""
BLOCK = 1024
"""Texts whose similarities are held at once."""
EQUAL = 1e-6
"""Cosines that differ by less are equally near: embeddings have six digits."""


def kept(found: Array, original: Array) -> Array:
    """Of each text, the share of its nearest neighbours by the original that are so by what was found.

    Args:
        found: embeddings, shape (texts, width).
        original: those of the original, in the same order.

    Returns:
        Shape (texts,); 1 where there is no other text.

    """
    count = len(found)
    among = np.unique(np.linspace(0, count - 1, min(count, AMONG)).round().astype(int))
    nearest = min(NEAREST, len(among) - 1)
    if nearest < 1:
        return np.ones(count)
    new, old = _directions(found), _directions(original)
    shares = []
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(count, start + BLOCK))
        before, after = (_others(vectors[rows] @ vectors[among].T, rows, among) for vectors in (old, new))
        wanted = np.argpartition(-before, nearest - 1, axis=1)[:, :nearest]
        last = -np.partition(-after, nearest - 1, axis=1)[:, nearest - 1]
        near = np.take_along_axis(after, wanted, axis=1) >= last[:, None] - EQUAL
        shares.append(near.mean(axis=1))
    return np.concatenate(shares)


def _directions(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def _others(similarities: Array, rows: Array, among: Array) -> Array:
    """Similarities without that of a text to itself."""
    similarities[rows[:, None] == among[None, :]] = -np.inf
    return similarities

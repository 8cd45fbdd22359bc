"""PyTorch modules by the weights that they hold, which names after an export do not tell any more."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np


def matrix_digest(matrix: np.ndarray[Any, Any]) -> str:
    """Hash of a matrix's shape and values."""
    return hashlib.sha256(repr(matrix.shape).encode() + np.ascontiguousarray(matrix).tobytes()).hexdigest()


def of_matrices(model: Any, digests: Collection[str]) -> Iterator[tuple[str, Any, np.ndarray[Any, Any]]]:
    """Modules that multiply by one of some matrices: its digest, the module and the matrix, shape (inputs, outputs).

    Args:
        model: a transformers module.
        digests: of the matrices; see :func:`matrix_digest`.

    """
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight.ndim != 2 or hasattr(module, "num_embeddings"):
            continue
        for transposed in (True, False):
            matrix = (weight.T if transposed else weight).detach().contiguous().float().numpy()
            key = matrix_digest(matrix)
            if key in digests:
                yield key, module, matrix
                break

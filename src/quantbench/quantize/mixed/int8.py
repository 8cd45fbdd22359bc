"""8-bit weights of a product, symmetric around zero."""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST = 127
"""Largest 8-bit weight; -128 is not used, so that both signs reach as far."""


def quantize(
    matrix: np.ndarray[Any, Any], number_type: str, per_channel: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Round weights to 8 bits.

    Args:
        matrix: float32, shape (inputs, outputs).
        number_type: ``int8`` with zero point 0, or ``uint8`` with zero point 128.
        per_channel: one scale per output instead of one for all.

    Returns:
        The numbers, shape (inputs, outputs); scales, float32, shape (outputs,) or (); zero points of the same shape.

    """
    largest = np.abs(matrix).max(axis=0) if per_channel else np.abs(matrix).max()
    scale = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    rounded = np.clip(np.rint(matrix / scale), -LARGEST, LARGEST)
    offset = 128 if number_type == "uint8" else 0
    numbers = (rounded + offset).astype(np.dtype(number_type))
    return numbers, scale, np.full(scale.shape, offset, dtype=np.dtype(number_type))


def activation(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of unsigned 8-bit activations whose range, zero included, is ``low`` to ``high``.

    Zero is a number of its own, as ONNX's QuantizeLinear needs it for padding (ONNX Runtime, "Quantize ONNX models").
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255) if high > low else np.float32(1.0)
    scale = max(scale, np.finfo(np.float32).tiny)
    return np.float32(scale), np.uint8(np.clip(round(-low / float(scale)), 0, 255))

"""Rounding to 8 bits in float tensors, through which gradients go as if it were not there.

The straight-through estimator (Bengio et al., 2013, "Estimating or Propagating Gradients Through Stochastic Neurons"):
what lies within the range gets the gradient of what it is rounded to, what lies outside gets none (Jacob et al., 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from quantbench.quantize.training.graph import Round

LARGEST, STEPS = 127, 255
"""Of signed whole numbers of 8 bits without the lowest, and steps from the lowest to the highest of unsigned ones."""
SMALLEST = 1e-12


def of_weights(per_channel: bool, axis: int) -> Round:
    """Of a matrix whose outputs are along ``axis``: symmetrical, with a scale for each or for all."""
    return partial(_weights, dim=(1 - axis,) if per_channel else (0, 1))


def static(low: float, high: float) -> Round:
    """Of activations, with a range that was found beforehand; 0 is among the numbers."""
    return partial(_within, torch.tensor(min(low, 0.0)), torch.tensor(max(high, 0.0)))


def dynamic(values: Any) -> Any:
    """Activations rounded within the range of all values of the batch."""
    found = values.detach()
    return _within(found.amin().clamp(max=0.0), found.amax().clamp(min=0.0), values)


def _weights(values: Any, dim: tuple[int, ...]) -> Any:
    scale = values.detach().abs().amax(dim=dim, keepdim=True).clamp(min=SMALLEST) / LARGEST
    return values + (torch.round(values / scale) * scale - values).detach()


def _within(low: Any, high: Any, values: Any) -> Any:
    scale = ((high - low) / STEPS).clamp(min=SMALLEST)
    zero = torch.round(-low / scale)
    clipped = torch.minimum(torch.maximum(values, -zero * scale), (STEPS - zero) * scale)
    return clipped + (torch.round(clipped / scale) * scale - clipped).detach()

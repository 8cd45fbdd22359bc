"""Outputs as distributions: the divergence of two, and a loss whose gradient gives the Fisher information."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from quantbench.plugins.protocols import Likelihood


def divergence(kind: Likelihood, expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    """Kullback-Leibler divergence along the last axis in nats, the mean over the others.

    ``gaussian`` outputs count as means of distributions with variance 1.
    """
    expected, found = np.nan_to_num(expected), np.nan_to_num(found)
    if kind == "categorical":
        first, second = log_softmax(expected, axis=-1), log_softmax(found, axis=-1)
        terms = np.exp(first) * (first - second)
    elif kind == "bernoulli":
        terms = expit(expected) * (log_expit(expected) - log_expit(found))
        terms = terms + expit(-expected) * (log_expit(-expected) - log_expit(-found))
    else:
        terms = (expected - found) ** 2 / 2
    return float(terms.sum(axis=-1).mean())


def drawn_loss(kind: Likelihood, outputs: Any, mask: Any, generator: Any) -> Any:
    """Negative log-likelihood, up to a constant, of outputs drawn from the model, summed over the batch.

    Args:
        kind: what the outputs are.
        outputs: tensors, classes along the last axis.
        mask: 1 at positions that are no padding, shape (batch, tokens), or None.
        generator: of torch.

    """
    import torch

    total: Any = 0.0
    for value in outputs:
        if kind == "categorical":
            logs = torch.log_softmax(value, dim=-1)
            flat = logs.reshape(-1, logs.shape[-1])
            drawn = torch.multinomial(flat.detach().exp(), 1, generator=generator)
            likelihood = flat.gather(1, drawn).reshape(logs.shape[:-1])
        elif kind == "bernoulli":
            drawn = torch.bernoulli(torch.sigmoid(value.detach()), generator=generator)
            likelihood = -torch.nn.functional.binary_cross_entropy_with_logits(value, drawn, reduction="none").sum(-1)
        else:
            noise = torch.randn(value.shape, generator=generator)
            likelihood = (value * noise).sum(-1)
        if mask is not None and likelihood.shape == mask.shape:
            likelihood = likelihood * mask
        total = total - likelihood.sum()
    return total

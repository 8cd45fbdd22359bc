"""What stays makes up for what was taken: the weights that read a layer's units, fitted anew by least squares.

Layer after layer: a shortened layer is to give what the whole one gives on the same input, which is that of the model
whose earlier layers are shortened and repaired already (as in layer-wise reconstruction: He et al., 2017, "Channel
Pruning"; Kwon et al., 2022, section 4.4). All that is needed of the samples is how values go together, X'X.

A position counts by the inverse square of what the layer gives there: a few positions get activations a thousand times
as large as all others, which normalization takes back (Sun et al., 2024, "Massive Activations in Large Language
Models"), and squares would be of these alone. Few samples say less than there are weights: how far these may go is
chosen by fitting on half of the samples and looking at the other half (ridge regression by cross-validation: Hastie et
al., 2009, sections 3.4 and 7.10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.linalg
from onnx import ModelProto

from quantbench.graph import edit
from quantbench.graph.units import Units, cut
from quantbench.graph.view import Graph
from quantbench.plugins.quantizing import Samples
from quantbench.quantize import sessions
from quantbench.schema.reporter import Advance

Array = np.ndarray[Any, Any]
RIDGES = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Shares of the values' mean square by which fitted weights are held to those that were there; samples choose one."""
FAINT = 0.1
"""Positions at which a layer gives less than this share of the usual are not counted for more."""


def shortened(
    model: ModelProto, staying: Mapping[Units, Array], samples: Samples, threads: int, advance: Advance
) -> ModelProto:
    """The model with fewer units and weights that were fitted anew.

    Args:
        model: the float export.
        staying: numbers of the units that stay, by layer, in the graph's order.
        samples: what it is fitted on.
        threads: of the sessions.
        advance: told 1 after each sample, for every layer.

    """
    for units, stay in staying.items():
        if len(stay) == units.count:
            advance(samples.count)
            continue
        weights = np.asarray(units.matrix(Graph(model)), dtype=np.float64)
        halves = _together(model, units, weights, samples, threads, advance)
        found = fitted(halves, weights, units.values(stay))
        model = cut(model, units, stay, found.astype(np.float32))
    return model


def fitted(halves: Sequence[Array], weights: Array, stay: Array) -> Array:
    """Weights of the values that stay, by which they give what all gave with theirs, shape (stay, outputs).

    Those of the ridge whose fits on one half of the samples do best on the other, from all samples; the weights that
    were there where no fit does better than these.

    Args:
        halves: X'X of all values over one half of the samples and over the other, shape (values, values).
        weights: W, shape (values, outputs).
        stay: numbers of those that stay.

    """
    first, second = halves

    def misses(ridge: float) -> float:
        return sum(
            missed(other, weights, stay, _ridge(own, weights, stay, ridge))
            for own, other in ((first, second), halves[::-1])
        )

    unchanged = sum(missed(half, weights, stay, weights[stay]) for half in halves)
    found = {ridge: misses(ridge) for ridge in RIDGES}
    best = min(found, key=lambda ridge: found[ridge])
    return _ridge(first + second, weights, stay, best) if found[best] < unchanged else weights[stay]


def missed(together: Array, weights: Array, stay: Array, fitted_weights: Array) -> float:
    """``|X_s V - X W|^2``: how far what stays with other weights is from what all gave."""
    apart = -np.asarray(weights, dtype=np.float64)
    apart[stay] += fitted_weights
    return float(np.einsum("io,io->", apart, together @ apart))


def _ridge(together: Array, weights: Array, stay: Array, share: float) -> Array:
    """The least of ``|X_s V - X W|^2 + r |V - W_s|^2``, r being a share of the mean of the diagonal of X_s'X_s."""
    own = together[np.ix_(stay, stay)]
    ridge = share * float(np.trace(own)) / len(stay)
    if not ridge > 0:
        return weights[stay]
    right = together[stay] @ weights + ridge * weights[stay]
    found: Array = scipy.linalg.solve(own + ridge * np.eye(len(stay)), right, assume_a="pos")
    return found


def _together(
    model: ModelProto, units: Units, weights: Array, samples: Samples, threads: int, advance: Advance
) -> tuple[Array, Array]:
    """X'X of the values of a layer's units, over all positions of every other sample, and over those of the others."""
    needed = edit.with_outputs(model, [units.inner])
    edit.remove_unread(needed)
    session = sessions.of_graph(needed, 99, threads)
    names = {item.name for item in session.get_inputs()}
    width = len(weights)
    halves = np.zeros((width, width)), np.zeros((width, width))
    for index in range(samples.count):
        inputs = {name: array for name, array in samples.sample(index).items() if name in names}
        inner = alike(session.run(None, inputs)[0].reshape(-1, width), weights)
        halves[index % 2][:] += inner.T @ inner
        advance(1)
    return halves


def alike(inner: Array, weights: Array) -> Array:
    """Values of positions, shape (positions, values), as large as makes what the layer gives about alike at all."""
    given = np.square(inner @ weights).mean(axis=1)
    size = np.sqrt(given + FAINT * np.median(given))
    found: Array = inner / np.where(size > 0, size, 1.0)[:, None]
    return found

"""What stays makes up for what was taken: the weights that read a layer's neurons, fitted anew by least squares.

Layer after layer: a shortened layer is to give what the whole one gives on the same input, which is that of the model
whose earlier layers are shortened and repaired already (as in layer-wise reconstruction: He et al., 2017, "Channel
Pruning"; Kwon et al., 2022, section 4.4). All that is needed of the samples is how neurons go together, X'X.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.linalg
from onnx import ModelProto

from quantbench.graph import edit
from quantbench.graph.neurons import FeedForward, cut, find
from quantbench.graph.view import Graph
from quantbench.plugins.quantizing import Samples
from quantbench.quantize import sessions
from quantbench.schema.reporter import Advance
from quantbench.served.onnxruntime import session_options

Array = np.ndarray[Any, Any]
RIDGE = 0.01
"""Share of the neurons' mean square that holds fitted weights to those that were there."""


def shortened(
    model: ModelProto,
    staying: Mapping[str, Array],
    samples: Samples,
    threads: int,
    advance: Advance,
    fit: Callable[[Array, Array, Array], Array] | None = None,
) -> ModelProto:
    """The model with fewer neurons and weights that were fitted anew.

    Args:
        model: the float export, with all shapes.
        staying: numbers of the neurons that stay, by layer.
        samples: what it is fitted on.
        threads: of the sessions.
        advance: told 1 after each sample, for every layer.
        fit: how; by default :func:`fitted`.

    """
    for name, stay in staying.items():
        graph = Graph(model)
        layer = next(found for found in find(graph) if found.name == name)
        if len(stay) == layer.neurons:
            advance(samples.count)
            continue
        weights = np.asarray(layer.matrix(graph), dtype=np.float64)
        together = _together(model, layer, samples, threads, advance)
        found = (fit or fitted)(together, weights, stay)
        model = cut(model, {layer: (stay, found.astype(np.float32))})
    return model


def fitted(together: Array, weights: Array, stay: Array) -> Array:
    """Weights of the neurons that stay, by which they give what all gave with theirs, shape (stay, outputs).

    The least of ``|X_s V - X W|^2 + r |V - W_s|^2`` over V, r being ``RIDGE`` of the mean of the diagonal of X_s'X_s.

    Args:
        together: X'X of all neurons, shape (neurons, neurons).
        weights: W, shape (neurons, outputs).
        stay: numbers of those that stay.

    """
    own = together[np.ix_(stay, stay)]
    ridge = RIDGE * float(np.trace(own)) / len(stay)
    if not ridge > 0:
        return weights[stay]
    right = together[stay] @ weights + ridge * weights[stay]
    found: Array = scipy.linalg.solve(own + ridge * np.eye(len(stay)), right, assume_a="pos")
    return found


def _together(model: ModelProto, layer: FeedForward, samples: Samples, threads: int, advance: Advance) -> Array:
    """X'X of a layer's neurons over all positions of the samples."""
    needed = edit.with_outputs(model, [layer.inner])
    edit.remove_unread(needed)
    session = sessions.session(sessions.serialized(needed), session_options(99, threads))
    names = {item.name for item in session.get_inputs()}
    total = np.zeros((layer.neurons, layer.neurons))
    for index in range(samples.count):
        inputs = {name: array for name, array in samples.sample(index).items() if name in names}
        inner = session.run(None, inputs)[0].reshape(-1, layer.neurons)
        total += inner.T @ inner
        advance(1)
    return total

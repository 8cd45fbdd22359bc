"""What stays makes up for what was taken: the weights that read a layer's units, fitted anew by least squares.

Layer after layer: a shortened layer is to give what the whole one gives on the same input, which is that of the model
whose earlier layers are shortened and repaired already (as in layer-wise reconstruction: He et al., 2017, "Channel
Pruning"; Kwon et al., 2022, section 4.4). All that is needed of the samples is how values go together, X'X.
"""

from __future__ import annotations

from collections.abc import Mapping
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
RIDGE = 0.01
"""Share of the values' mean square that holds fitted weights to those that were there."""


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
        found = fitted(_together(model, units, samples, threads, advance), weights, units.values(stay))
        model = cut(model, units, stay, found.astype(np.float32))
    return model


def fitted(together: Array, weights: Array, stay: Array) -> Array:
    """Weights of the values that stay, by which they give what all gave with theirs, shape (stay, outputs).

    The least of ``|X_s V - X W|^2 + r |V - W_s|^2`` over V, r being ``RIDGE`` of the mean of the diagonal of X_s'X_s.

    Args:
        together: X'X of all values, shape (values, values).
        weights: W, shape (values, outputs).
        stay: numbers of those that stay.

    """
    own = together[np.ix_(stay, stay)]
    ridge = RIDGE * float(np.trace(own)) / len(stay)
    if not ridge > 0:
        return weights[stay]
    right = together[stay] @ weights + ridge * weights[stay]
    found: Array = scipy.linalg.solve(own + ridge * np.eye(len(stay)), right, assume_a="pos")
    return found


def _together(model: ModelProto, units: Units, samples: Samples, threads: int, advance: Advance) -> Array:
    """X'X of the values of a layer's units, over all positions of the samples."""
    needed = edit.with_outputs(model, [units.inner])
    edit.remove_unread(needed)
    session = sessions.of_graph(needed, 99, threads)
    names = {item.name for item in session.get_inputs()}
    width = units.count * units.size
    total = np.zeros((width, width))
    for index in range(samples.count):
        inputs = {name: array for name, array in samples.sample(index).items() if name in names}
        inner = session.run(None, inputs)[0].reshape(-1, width)
        total += inner.T @ inner
        advance(1)
    return total

"""Whether a mask that is added to attention scores is nothing but the padding of the keys.

Exports compute the mask with dozens of small nodes, at its full size of tokens by tokens. The graph shows what it
depends on; that it hides exactly the padded keys is found by computing it for drawn inputs of several sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from quantbench.graph.edit import remove_unread, with_outputs
from quantbench.graph.view import Graph
from quantbench.quantize import sessions

INPUT = "attention_mask"
SIZES = ((1, 1), (1, 7), (3, 5), (2, 16))
"""Batches and tokens for which a mask is computed."""
DRAWS = 3
HIDDEN = -1e4
"""A score at least so low counts as hidden: its share after the softmax is zero in float32."""


def is_key_padding(model: onnx.ModelProto, mask: str) -> bool:
    """Whether a mask is 0 where the input ``attention_mask`` is 1 and hides the key where it is 0, for every query."""
    names = {item.name for item in model.graph.input}
    needed = _inputs_of(Graph(model), mask)
    if INPUT not in names or INPUT not in needed:
        return False
    session = _session(model, mask)
    generator = np.random.default_rng(0)
    return all(_agrees(session, needed, size, generator) for size in SIZES for _ in range(DRAWS))


def _agrees(session: Any, needed: set[str], size: tuple[int, int], generator: Any) -> bool:
    """One comparison, with the first token of every row visible and any of the others hidden."""
    keep = generator.integers(0, 2, size, dtype=np.int64)
    keep[:, 0] = 1
    inputs: Mapping[str, Any] = {
        name: keep if name == INPUT else generator.integers(0, 2, size, dtype=np.int64) for name in needed
    }
    values = np.asarray(session.run(None, inputs)[0])
    try:
        values = np.broadcast_to(values, (size[0], 1, size[1], size[1]))
    except ValueError:
        return False
    visible = np.broadcast_to(keep[:, None, None, :].astype(bool), values.shape)
    return bool((values[visible] == 0).all() and (values[~visible] <= HIDDEN).all())


def _inputs_of(graph: Graph, tensor: str) -> set[str]:
    """Names of the model's inputs that a tensor depends on."""
    names = {item.name for item in graph.model.graph.input}
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = graph.producer(name)
        if node is not None:
            waiting += [item for item in node.input if item]
        elif name in names:
            found.add(name)
    return found


def _session(model: onnx.ModelProto, tensor: str) -> Any:
    """A session of the part of a model that makes one tensor, whose inputs are those that it depends on."""
    import onnxruntime

    part = with_outputs(model, [tensor])
    needed = _inputs_of(Graph(model), tensor)
    for item in [item for item in part.graph.input if item.name not in needed]:
        part.graph.input.remove(item)
    remove_unread(part)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return sessions.session(sessions.serialized(part), options)

"""Changing an ONNX graph: other outputs, other nodes, and what nobody reads removed.

By hand on protobuf rather than by passes of onnx-ir: these change a model in place while others hold it, and a way
through onnx-ir would copy all of its weights twice for a few lines of work.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import NodeProto, TensorProto, helper


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that shares nothing with the model."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def set_outputs(model: onnx.ModelProto, tensors: Iterable[str]) -> None:
    """Make float tensors of any shape the only outputs of a model, in place and in this order."""
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)


def with_outputs(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy of a model whose only outputs are the given float tensors."""
    copied = copy(model)
    set_outputs(copied, tensors)
    return copied


def set_nodes(model: onnx.ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Make these the nodes of a model, in place and in this order; they may be some of its own."""
    kept = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def remove_unread(model: onnx.ModelProto) -> None:
    """Remove nodes and initializers that no output depends on, in place."""
    needed = {item.name for item in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    set_nodes(model, reversed(kept))
    unread = [index for index, item in enumerate(model.graph.initializer) if item.name not in needed]
    for index in reversed(unread):
        del model.graph.initializer[index]

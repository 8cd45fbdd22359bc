"""Reading an ONNX graph: who makes and who reads a tensor, what is constant, and a hash of what is computed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper


class Graph:
    """An ONNX graph with look-ups by tensor.

    Attributes:
        nodes: the nodes in topological order, as stored.

    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self._initializers = {item.name: item for item in model.graph.initializer}
        self._producer = {name: node for node in self.nodes for name in node.output if name}
        self._consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in filter(None, node.input):  # the empty name stands for an input that is left out
                self._consumers[name].append(node)
        self._types = {
            item.name: item.type.tensor_type.elem_type
            for item in [*model.graph.value_info, *model.graph.input, *model.graph.output]
        }

    @classmethod
    def read(cls, path: Path) -> Graph:
        """The graph of an ONNX file."""
        return cls(onnx.load(str(path)))

    def producer(self, tensor: str) -> NodeProto | None:
        """The node that makes a tensor; None for inputs and initializers."""
        return self._producer.get(tensor)

    def consumers(self, node: NodeProto) -> list[NodeProto]:
        """The nodes that read any output of a node."""
        return [reader for name in node.output for reader in self._consumers.get(name, ())]

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is an initializer or the output of a Constant node."""
        node = self.producer(tensor)
        return tensor in self._initializers or (node is not None and node.op_type == "Constant")

    def scalar(self, tensor: str) -> float | None:
        """The value of a constant of one number, else None."""
        array = self.array(tensor)
        if array is None or array.size != 1 or array.dtype.kind not in "fiub":
            return None
        return float(array.reshape(-1)[0])

    def is_float(self, tensor: str) -> bool:
        """Whether shape inference or an initializer says that a tensor is float32."""
        if tensor in self._initializers:
            return bool(self._initializers[tensor].data_type == onnx.TensorProto.FLOAT)
        return bool(self._types.get(tensor) == onnx.TensorProto.FLOAT)

    def variable_inputs(self, node: NodeProto) -> list[str]:
        """Inputs of a node that are computed, not constant."""
        return [name for name in node.input if name and not self.is_constant(name)]

    def of_type(self, *types: str) -> Iterable[NodeProto]:
        """The nodes of the given operator types."""
        return (node for node in self.nodes if node.op_type in types)

    def array(self, tensor: str) -> Any:
        """The values of a constant; None of what is computed."""
        if tensor in self._initializers:
            return numpy_helper.to_array(self._initializers[tensor])
        node = self.producer(tensor)
        if node is not None and node.op_type == "Constant" and node.attribute:
            value = onnx.helper.get_attribute_value(node.attribute[0])
            return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
        return None


def remove_unread(model: onnx.ModelProto) -> None:
    """Remove nodes and initializers that no output depends on, in place."""
    needed = {item.name for item in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    for item in [item for item in model.graph.initializer if item.name not in needed]:
        model.graph.initializer.remove(item)


def computation_hash(model: onnx.ModelProto) -> str:
    """Hash of what a graph computes, whatever its names and the order of its nodes.

    Each tensor's hash is that of its operator, attributes and inputs' hashes, an initializer's that of its contents
    (a Merkle tree); the graph's is that of its inputs' names and its outputs. Opset and producer do not count, nor do
    names that are nobody's address: those of nodes and of tensors in attributes, and documentation.
    """
    hashes: dict[str, str] = {"": ""}
    for value in model.graph.input:
        hashes[value.name] = _sha("input", value.name)
    for item in model.graph.initializer:
        hashes[item.name] = _constant_hash(item)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].type == onnx.AttributeProto.TENSOR:
            hashes[node.output[0]] = _constant_hash(node.attribute[0].t)
            continue
        attributes = _sha(*sorted(_attribute_hash(attribute) for attribute in node.attribute))
        body = _sha(node.domain, node.op_type, attributes, *(hashes[name] for name in node.input))
        # An optional output that is left out has the empty name, which as an input means "left out".
        hashes.update({name: _sha(body, str(index)) for index, name in enumerate(node.output) if name})
    return _sha(*(hashes[value.name] for value in model.graph.output))


def _constant_hash(tensor: onnx.TensorProto) -> str:
    array = numpy_helper.to_array(tensor)
    return _sha("constant", str(array.dtype), str(array.shape), array.tobytes())


def _attribute_hash(attribute: onnx.AttributeProto) -> str:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _sha(attribute.name, _constant_hash(attribute.t))
    bare = onnx.AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    return _sha(attribute.name, bare.SerializeToString(deterministic=True))


def _sha(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()

"""A hash of what an ONNX graph computes, by which equal computations are known under whatever settings."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx

from quantbench.graph import external


def computation_hash(model: onnx.ModelProto) -> str:
    """Hash of what a graph computes, whatever its names and the order of its nodes.

    Each tensor's hash is that of its operator, attributes and inputs' hashes, an initializer's that of its contents
    (a Merkle tree); the graph's is that of its inputs' names and its outputs. Opset and producer do not count, nor do
    names by which nothing is looked up (of nodes, and of tensors in attributes), nor documentation.
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
    array = external.values(tensor)
    return _sha("constant", str(array.dtype), str(array.shape), array.reshape(-1).view(np.uint8).data)


def _attribute_hash(attribute: onnx.AttributeProto) -> str:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _sha(attribute.name, _constant_hash(attribute.t))
    bare = onnx.AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    return _sha(attribute.name, bare.SerializeToString(deterministic=True))


def _sha(*parts: str | bytes | memoryview) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()

"""ONNX models whose weights lie in a file beside the graph's: read from there when they are asked for.

A protobuf message holds less than 2 GiB, so that the weights of larger models are external data (ONNX, "Open Neural
Network Exchange IR specification"). A model that is read here names that file by its full path, and its weights are
mapped into memory where their values are wanted; the graph is edited and executed without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, TensorProto, helper, numpy_helper


def read(path: Path) -> onnx.ModelProto:
    """The model of a file; external data stays where it is."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in outside(model):
        locate(tensor, str(path.absolute().parent / facts(tensor)["location"]))
    return model


def outside(model: onnx.ModelProto) -> list[TensorProto]:
    """Tensors of a model whose values are external data."""
    return [tensor for tensor in _tensors(model.graph) if tensor.data_location == TensorProto.EXTERNAL]


def facts(tensor: TensorProto) -> dict[str, str]:
    """What external data says of itself: ``location``, ``offset`` and ``length``, both in bytes."""
    return {entry.key: entry.value for entry in tensor.external_data}


def values(tensor: TensorProto) -> np.ndarray[Any, Any]:
    """The values of a tensor; external ones are mapped, not read."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(tensor))
    about = facts(tensor)
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    count = int(np.prod(tensor.dims, dtype=np.int64))
    if not count:
        return np.zeros(tuple(tensor.dims), kind)
    mapped = np.memmap(about["location"], kind, "r", int(about.get("offset", 0)), (count,))
    return np.asarray(mapped).reshape(tuple(tensor.dims))


def put_outside(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Make the values of a tensor external data, in place."""
    bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    bare.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        bare.external_data.add(key=key, value=value)
    tensor.CopyFrom(bare)


def put_inside(tensor: TensorProto) -> None:
    """Make external data part of the model again, in place."""
    tensor.CopyFrom(numpy_helper.from_array(values(tensor), tensor.name))


def locate(tensor: TensorProto, location: str) -> None:
    """Say where the file of external data is, in place."""
    for entry in tensor.external_data:
        if entry.key == "location":
            entry.value = location


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Initializers and constants of a graph and of the graphs inside of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.GRAPH:
                yield from _tensors(attribute.g)

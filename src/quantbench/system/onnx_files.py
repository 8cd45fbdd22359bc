"""ONNX models as files: one as long as protobuf can hold it, else the graph and its weights beside it.

The second file is named ``model.onnx_data`` after ``model.onnx``, as transformers.js, text-embeddings-inference and
optimum name it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from quantbench.graph import external
from quantbench.system.writing import write_atomically

ENDING = "_data"
LARGEST = 2**30
"""Bytes of weights above which they get a file of their own, which can be mapped: who reads one file holds it twice for
a while. Protobuf holds up to 2 GiB; some of that is left to what adds to the graph."""
SMALL = 1024
"""Bytes of a tensor below which it stays in the graph, where the inference of shapes can read it."""
ALIGNED = 4096
"""Weights begin at multiples of so many bytes, a page, so that they can be mapped into memory one by one."""


def files(path: Path) -> tuple[Path, ...]:
    """The files of a model: the graph, and the weights where they are apart."""
    data = _data(path)
    return (path, data) if data.exists() else (path,)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write a model; weights that lie in other files are copied. Equal models write equal bytes.

    Afterwards the model's weights are inside of it, or lie in the file that was written.

    Raises:
        BadInput: if there is no place for it; no partial file stays.

    """
    tensors = [tensor for tensor in model.graph.initializer if _bytes(tensor) >= SMALL]
    data = _data(path)
    if sum(map(_bytes, tensors)) <= LARGEST:
        for tensor in external.outside(model):
            external.put_inside(tensor)
        write_atomically(path, model.SerializeToString(deterministic=True))
        data.unlink(missing_ok=True)
        return
    places = _places(tensors)
    write_atomically(data, _contents(tensors, places))  # the graph last: where it is, its weights are
    for tensor, place in zip(tensors, places, strict=True):
        external.put_outside(tensor, data.name, place, _bytes(tensor))
    for tensor in external.outside(model):
        if external.facts(tensor)["location"] != data.name:  # a small one, or one of a node
            external.put_inside(tensor)
    write_atomically(path, model.SerializeToString(deterministic=True))
    for tensor in tensors:
        external.locate(tensor, str(data.absolute()))


def _data(path: Path) -> Path:
    return path.with_name(f"{path.name}{ENDING}")


def _bytes(tensor: TensorProto) -> int:
    """Bytes of a tensor's values."""
    if tensor.data_location == TensorProto.EXTERNAL:
        about = external.facts(tensor)
        return int(about["length"]) if "length" in about else external.values(tensor).nbytes
    return len(tensor.raw_data) or external.values(tensor).nbytes


def _places(tensors: Sequence[TensorProto]) -> list[int]:
    """Where each tensor begins."""
    places, end = [], 0
    for tensor in tensors:
        begin = -(-end // ALIGNED) * ALIGNED
        places.append(begin)
        end = begin + _bytes(tensor)
    return places


def _contents(tensors: Sequence[TensorProto], places: Sequence[int]) -> Iterator[bytes | memoryview]:
    """The bytes of a file of weights, a tensor at a time."""
    end = 0
    for tensor, place in zip(tensors, places, strict=True):
        yield bytes(place - end)
        values = external.values(tensor)
        yield values.reshape(-1).view(np.uint8).data
        end = place + values.nbytes

"""Sessions of ONNX Runtime on graphs that were changed in memory, whose weights may lie in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import onnx

from quantbench.graph import external
from quantbench.served.onnxruntime import session_options

FOLDER_OPTION = "session.model_external_initializers_file_folder_path"
"""Where ONNX Runtime looks for weights of a model that it is given as bytes."""


class Serialized(NamedTuple):
    """A model as bytes, and the folder of its weights; None where these are within."""

    content: bytes
    folder: str | None


def serialized(model: onnx.ModelProto) -> Serialized:
    """A model as bytes for :func:`session`, so that it need not be held while its session is made.

    Raises:
        ValueError: if its weights lie in more than one folder, of which a session can be told one.

    """
    folders = {Path(external.facts(tensor)["location"]).parent for tensor in external.outside(model)}
    if not folders:
        return Serialized(model.SerializeToString(), None)
    if len(folders) > 1:
        raise ValueError(f"weights lie in {len(folders)} folders: {', '.join(sorted(map(str, folders)))}")
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in external.outside(bare):
        external.locate(tensor, Path(external.facts(tensor)["location"]).name)
    return Serialized(bare.SerializeToString(), str(folders.pop()))


def of_graph(model: onnx.ModelProto, optimization_level: int, threads: int) -> Any:
    """A session of a graph that is in memory, with the options that all sessions here have."""
    return session(serialized(model), session_options(optimization_level, threads))


def session(model: Serialized, options: Any) -> Any:
    """An ``onnxruntime.InferenceSession`` of it on the CPU.

    Args:
        model: its weights lie in one folder, if they are external.
        options: ``onnxruntime.SessionOptions``, which are told of that folder.

    """
    import onnxruntime

    if model.folder is not None:
        options.add_session_config_entry(FOLDER_OPTION, model.folder)
    return onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])

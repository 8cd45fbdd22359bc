"""Models that are ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.plugins.quantizing import Inspection, NoEmbedding

if TYPE_CHECKING:
    from quantbench.served.modules import Head

FILE = "model.onnx"
EMBEDDING = "onnx/model.onnx"
"""Where text-embeddings-inference, sentence-transformers and transformers.js all look for it."""


def files(path: Path) -> tuple[Path, ...]:
    """The graph, and the weights where they are apart."""
    from quantbench.system import onnx_files

    return onnx_files.files(path)


def inspect(path: Path) -> Inspection:
    """Operators between quantized values, and the hash of the graph's computation."""
    from quantbench.graph import external
    from quantbench.graph.fingerprint import computation_hash
    from quantbench.graph.view import Graph
    from quantbench.quantize.inspection import quantized_operators

    model = external.read(path)
    return Inspection(quantized_operators(Graph(model)), computation_hash(model))


def write_embedding(path: Path, head: Head, prompt: int, folder: Path) -> Path:
    """See ``graph.embedding``: nodes are added behind those that there are, of which none changes."""
    from quantbench.graph import external
    from quantbench.graph.embedding import lacking, with_embedding
    from quantbench.system import onnx_files

    model, target = external.read(path), folder / EMBEDDING
    problem = lacking(model)
    if problem:
        raise NoEmbedding(problem)
    onnx_files.write(with_embedding(model, head.steps, head.weights, prompt), target)
    return target

"""Models that are ONNX files."""

from __future__ import annotations

from pathlib import Path

from quantbench.plugins.quantizing import Inspection

FILE = "model.onnx"


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

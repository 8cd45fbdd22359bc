"""Models that are one ONNX file."""

from __future__ import annotations

from pathlib import Path

from quantbench.plugins.quantizing import Inspection

FILE = "model.onnx"


def files(path: Path) -> tuple[Path, ...]:
    """The file itself: weights are within."""
    return (path,)


def inspect(path: Path) -> Inspection:
    """Operators between quantized values, and the hash of the graph's computation."""
    import onnx

    from quantbench.graph.fingerprint import computation_hash
    from quantbench.graph.view import Graph
    from quantbench.quantize.inspection import quantized_operators

    model = onnx.load(str(path))
    return Inspection(quantized_operators(Graph(model)), computation_hash(model))

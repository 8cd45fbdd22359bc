"""ONNX Runtime on the CPU, with an explicit optimization level and thread count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantbench.records import ArmSpec

SUMMARY = "ONNX Runtime, CPU execution provider"
LIBRARIES = ("onnx", "onnxruntime")
OPERATORS: Mapping[str, tuple[str, ...]] = {
    "static": (
        "Add",
        "ArgMax",
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Concat",
        "Conv",
        "ConvTranspose",
        "CumSum",
        "EmbedLayerNormalization",
        "Flatten",
        "Gather",
        "GatherElements",
        "Gemm",
        "GlobalAveragePool",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "MatMul",
        "MaxPool",
        "Mul",
        "Pad",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
    ),
    "dynamic": ("Attention", "Conv", "EmbedLayerNormalization", "Gather", "LSTM", "MatMul", "Transpose"),
}
"""Operators that ONNX Runtime 1.32 can quantize, per approach (its quantization registries)."""
LEVELS = {0: "ORT_DISABLE_ALL", 1: "ORT_ENABLE_BASIC", 2: "ORT_ENABLE_EXTENDED", 99: "ORT_ENABLE_ALL"}


class OnnxSession:
    """A loaded ONNX model; arrays in, arrays out."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = {item.name for item in session.get_inputs()}

    def predict(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs of one batch as arrays."""
        return list(self._session.run(None, self._known(inputs)))

    def prepare(self, inputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call that runs one batch."""
        feed, run = self._known(inputs), self._session.run
        return lambda: run(None, feed)

    def _known(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: array for name, array in inputs.items() if name in self._names}


def session_options(optimization_level: int, num_threads: int) -> Any:
    """The options that every session of quantbench runs with, timed or scored.

    ``force_spinning_stop`` lets the thread pool rest between calls, so that waiting arms do not disturb others.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[optimization_level])
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def load(spec: ArmSpec, num_threads: int) -> OnnxSession:
    """Load the ONNX file ``spec.path`` at the level ``spec.options['optimization_level']``."""
    import onnxruntime

    level = spec.options["optimization_level"]
    options = session_options(level if isinstance(level, int) else 99, num_threads)
    return OnnxSession(onnxruntime.InferenceSession(spec.path, options, providers=["CPUExecutionProvider"]))


def executed_operators(model: Path, optimization_level: int, folder: Path) -> dict[str, int]:
    """Operators by type in the graph that a session runs after its own optimization.

    The session writes that graph into ``folder``, a scratch folder of the caller's.
    """
    import onnx
    import onnxruntime

    optimized = folder / "optimized.onnx"
    options = session_options(optimization_level, 1)
    options.optimized_model_filepath = str(optimized)
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    counts: dict[str, int] = {}
    for node in onnx.load(str(optimized), load_external_data=False).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))

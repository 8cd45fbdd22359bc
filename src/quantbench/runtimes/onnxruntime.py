"""ONNX Runtime on the CPU, with an explicit optimization level and thread count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings
from quantbench.served import onnxruntime as served

SUMMARY = "ONNX Runtime, CPU execution provider"
LIBRARIES = ("onnx", "onnxruntime")
EXTRA = ""
ARGS = ("opset", "optimization_level", "session_options")
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
    "mixed": ("MatMul",),
    "none": (),
}
"""Operators that can be quantized, per approach; static and dynamic as ONNX Runtime 1.32 can (its registries)."""
FILES = dict.fromkeys(OPERATORS, "model.onnx")
SERVED = served


def load(spec: ArmSpec, num_threads: int) -> served.OnnxSession:
    """Load the ONNX file ``spec.path`` with the ``optimization_level`` and ``session_options`` in ``spec.options``."""
    return served.load(spec.path, spec.options, num_threads)


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the optimization level of its session, and what is not at ONNX Runtime's default."""
    args = settings.framework_args
    chosen = args.session_options.model_dump(mode="json", exclude_defaults=True)
    return {"optimization_level": args.optimization_level, **({"session_options": chosen} if chosen else {})}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Operators by type in the graph that a session runs after its own optimization, written into ``scratch``."""
    import onnx
    import onnxruntime

    optimized = scratch / "optimized.onnx"
    session = served.options_of(spec.options, 1)
    session.optimized_model_filepath = str(optimized)
    onnxruntime.InferenceSession(spec.path, session, providers=["CPUExecutionProvider"])
    counts: dict[str, int] = {}
    for node in onnx.load(str(optimized), load_external_data=False).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))

"""ONNX Runtime on the CPU, with an explicit optimization level and thread count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quantbench.records import ArmSpec
from quantbench.settings import Settings

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
INFER = """
import onnxruntime

OPTIONS = json.loads({options!r})
LEVELS = {{0: "ORT_DISABLE_ALL", 1: "ORT_ENABLE_BASIC", 2: "ORT_ENABLE_EXTENDED", 99: "ORT_ENABLE_ALL"}}
ENTRIES = {{
    "allow_spinning": "session.intra_op.allow_spinning",
    "dynamic_block_base": "session.dynamic_block_base",
    "denormal_as_zero": "session.set_denormal_as_zero",
    "disable_prepacking": "session.disable_prepacking",
}}

def load():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    level = LEVELS[OPTIONS["optimization_level"]]
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    for name, value in OPTIONS.get("session_options", {{}}).items():
        if name in ENTRIES:
            options.add_session_config_entry(ENTRIES[name], str(int(value)))
        else:
            setattr(options, name, value)
    session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = {{item.name for item in session.get_inputs()}}
    return lambda inputs: session.run(None, {{name: inputs[name] for name in names if name in inputs}})
"""
LEVELS = {0: "ORT_DISABLE_ALL", 1: "ORT_ENABLE_BASIC", 2: "ORT_ENABLE_EXTENDED", 99: "ORT_ENABLE_ALL"}
CONFIG_ENTRIES = {
    "allow_spinning": "session.intra_op.allow_spinning",
    "dynamic_block_base": "session.dynamic_block_base",
    "denormal_as_zero": "session.set_denormal_as_zero",
    "disable_prepacking": "session.disable_prepacking",
}
"""Session options that are entries of a session's configuration; the others are attributes of their own name."""


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


def session_options(optimization_level: int, num_threads: int, chosen: Mapping[str, Any] | None = None) -> Any:
    """The options that every session of quantbench runs with, timed or scored.

    ``force_spinning_stop`` lets the thread pool rest between calls, so that waiting arms do not disturb others.

    Args:
        optimization_level: as in ``framework_args``.
        num_threads: of the pool within operators.
        chosen: values by the names of ``records.SessionOptions``; the others stay at ONNX Runtime's defaults.

    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[optimization_level])
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    for name, value in (chosen or {}).items():
        if name in CONFIG_ENTRIES:
            options.add_session_config_entry(CONFIG_ENTRIES[name], str(int(value)))
        else:
            setattr(options, name, value)
    return options


def load(spec: ArmSpec, num_threads: int) -> OnnxSession:
    """Load the ONNX file ``spec.path`` with the ``optimization_level`` and ``session_options`` in ``spec.options``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(spec.path, _options(spec, num_threads), providers=["CPUExecutionProvider"])
    return OnnxSession(session)


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
    session = _options(spec, 1)
    session.optimized_model_filepath = str(optimized)
    onnxruntime.InferenceSession(spec.path, session, providers=["CPUExecutionProvider"])
    counts: dict[str, int] = {}
    for node in onnx.load(str(optimized), load_external_data=False).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


def _options(spec: ArmSpec, num_threads: int) -> Any:
    level, chosen = spec.options["optimization_level"], spec.options.get("session_options")
    assert isinstance(level, int), "as options() wrote it"
    return session_options(level, num_threads, chosen if isinstance(chosen, dict) else None)

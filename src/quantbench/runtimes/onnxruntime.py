"""ONNX Runtime on the CPU, with an explicit optimization level and thread count."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from quantbench.plugins.arguments import NoBool, OnEveryCard
from quantbench.plugins.options import typed
from quantbench.plugins.protocols import Rule, Session
from quantbench.plugins.signature import Signature, Tensor
from quantbench.runtimes._caps import UNCAPPED
from quantbench.runtimes._wired import wired
from quantbench.schema.base import Record
from quantbench.schema.results import ArmSpec, Environment
from quantbench.schema.settings import Flag, FrameworkArgs, Mode, Precision, Settings
from quantbench.served import onnxruntime as served

SUMMARY = "ONNX Runtime, CPU execution provider"
LIBRARIES = ("onnx", "onnxruntime")
EXTRA = ""
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
QUANTIZERS: Mapping[str, str] = {
    "static": "onnxruntime-static",
    "dynamic": "onnxruntime-dynamic",
    "mixed": "mixed",
    "none": "none",
}
LOADS_FOLDER = False
ENDINGS = (".onnx",)
TYPES = {"float": "float32", "double": "float64"}
"""What ONNX calls otherwise than NumPy."""
FAST_PRODUCTS: tuple[Mode, ...] = ("dynamic", "static")
OWN_OPERATORS = True
FLOAT_RUNTIME = "onnxruntime"
WEIGHTS_FILE = "session.optimized_model_external_initializers_file_name"
EXECUTED = "ONNX Runtime's graph at the optimization level of the run"
EXECUTED_ALONE = "the graph that ONNX Runtime made of it at the optimization level of the run"
INTEGER_OPERATORS = ("QLinear", "QGemm", "QAttention", "DynamicQuantizeM", "DynamicQuantizeLSTM")
"""How operators that compute on integers begin; all others of these have ``Integer`` in their names."""
SERVED = served


class SessionOptions(Record):
    """ONNX Runtime's options for latency and its defaults (1.32, ``SessionOptions`` and its configuration entries)."""

    allow_spinning: Flag = True
    dynamic_block_base: Annotated[int, Field(ge=0, strict=True)] = 0
    denormal_as_zero: Flag = False
    enable_cpu_mem_arena: Flag = True
    enable_mem_pattern: Flag = True
    disable_prepacking: Flag = False


class Args(FrameworkArgs, extra="forbid"):
    """Options of this runtime: ``optimization_level`` is 0 none, 1 basic, 2 extended, 99 all."""

    optimization_level: Annotated[Literal[0, 1, 2, 99], NoBool, OnEveryCard()] = 99
    session_options: SessionOptions = SessionOptions()


def _precision(settings: Settings) -> str | None:
    precision = settings.framework_args.precision
    if precision == "float32":
        return None
    return f"ONNX Runtime has no {precision} kernels for these models on CPUs; use framework openvino or pytorch"


RULES = (Rule(("framework_args.precision", "framework", "quantization_approach"), _precision),)


def load(spec: ArmSpec, num_threads: int) -> Session:
    """Load the ONNX file ``spec.path`` with the ``optimization_level`` and ``session_options`` in ``spec.options``."""
    return wired(served.load(spec.path, spec.options, num_threads), spec.options)


def signature(session: Any) -> Signature:
    """Inputs and outputs as ONNX Runtime reads them; it tells no tensor of unknown rank from a single number."""
    own = session.session
    return Signature(inputs=tuple(map(_tensor, own.get_inputs())), outputs=tuple(map(_tensor, own.get_outputs())))


def _tensor(item: Any) -> Tensor:
    kind = str(item.type).removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in item.shape)
    return Tensor(name=item.name, type=TYPES.get(kind, kind), shape=shape or None)


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the optimization level of its session, and what is not at ONNX Runtime's default."""
    args = typed(Args, settings)
    chosen = args.session_options.model_dump(mode="json", exclude_defaults=True)
    return {"optimization_level": args.optimization_level, **({"session_options": chosen} if chosen else {})}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Operators by type in the graph that a session runs after its own optimization, written into ``scratch``."""
    import onnx
    import onnxruntime

    optimized = scratch / "optimized.onnx"
    session = served.options_of(spec.options, 1)
    session.optimized_model_filepath = str(optimized)
    session.add_session_config_entry(WEIGHTS_FILE, "weights")  # the largest models do not fit into one
    onnxruntime.InferenceSession(spec.path, session, providers=["CPUExecutionProvider"])
    counts: dict[str, int] = {}
    for node in onnx.load(str(optimized), load_external_data=False).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


def precisions(instruction_sets: Collection[str]) -> tuple[Precision, ...]:
    """There are kernels of float32 only."""
    return ("float32",)


def is_integer(operator: str) -> bool:
    """By the names of ONNX Runtime's operators."""
    return operator.startswith(INTEGER_OPERATORS) or "Integer" in operator


def why_float(settings: Settings) -> str:
    """Below level 2 the operators around quantized values are not fused."""
    return (
        f"At optimization level {typed(Args, settings).optimization_level} ONNX Runtime runs the quantized graph in "
        "float, rounding in between; set framework_args.optimization_level to 2 or 99"
    )


def notes(settings: Settings, environment: Environment) -> tuple[str, ...]:
    """That a cap did not reach it."""
    return (UNCAPPED,) if environment.cap else ()

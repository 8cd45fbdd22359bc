"""OpenVINO on the CPU: one stream, an explicit thread count and inference precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from quantbench.plugins.arguments import NoBool
from quantbench.plugins.options import own_fields, typed
from quantbench.plugins.protocols import Rule, Session
from quantbench.plugins.signature import Signature, Tensor
from quantbench.runtimes._wired import wired
from quantbench.schema.results import ArmSpec, Environment
from quantbench.schema.settings import FrameworkArgs, Mode, Precision, Settings
from quantbench.served import openvino as served
from quantbench.system import instruction_sets as levels
from quantbench.system.instruction_sets import BFLOAT16_SETS

SUMMARY = "OpenVINO, CPU plug-in; int8 through NNCF"
OPERATORS: Mapping[str, tuple[str, ...]] = {"static": ("MatMul",), "mixed": ("MatMul",), "none": ()}
"""With ``static`` NNCF chooses the operators; the default is all that can be named."""
QUANTIZERS: Mapping[str, str] = {"mixed": "mixed", "static": "nncf", "none": "none"}
LOADS_FOLDER = False
ENDINGS = (".xml",)
FAST_PRODUCTS: tuple[Mode, ...] = ("static",)
OWN_OPERATORS = False
LIBRARIES = ("openvino",)
EXTRA = "openvino"
FLOAT_RUNTIME = "openvino"
EXECUTED = "OpenVINO's executable graph, whose operators name the precision that they compute in"
EXECUTED_ALONE = ""
SERVED = served
INTEGER_LAYERS = tuple(
    f"{layer} [{precision}]"
    for layer in ("FullyConnected", "MatMul", "Convolution", "Subgraph")
    for precision in ("i8", "u8")
)
"""Layers that compute on 8-bit integers; those of attention are fused into a Subgraph. Other layers that are marked
with these types move numbers, or truth values."""
PARTLY_CAPPED = (
    "supported_instructions caps PyTorch and oneDNN, which computes OpenVINO's int8 and bfloat16 products; OpenVINO's "
    "float32 products (MLAS), normalizations and reductions choose their kernels by the CPU and were not capped"
)
EMULATED = (
    "bfloat16 without avx512_bf16 or amx_bf16: OpenVINO emulates it with avx512 and computes in float32 without; "
    "the operators executed below name the precision"
)
DATA_LAYERS = ("Input", "Output", "Const", "Constant", "Parameter", "Result")
"""Layer types of an executable graph that compute nothing."""


class Args(FrameworkArgs, extra="forbid"):
    """Options of this runtime, both of NNCF's quantization.

    ``preset``: activations asymmetric (``mixed``) or symmetric (``performance``). ``smooth_quant_alpha``: 0 migrates
    nothing of outlying channels into weights, null what NNCF does by itself.
    """

    preset: Literal["mixed", "performance"] = "mixed"
    smooth_quant_alpha: Annotated[float, Field(ge=0, le=1), NoBool] | None = None


def _capped_bfloat16(settings: Settings) -> str | None:
    """OpenVINO asks the CPU, not the cap, whether it can compute in bfloat16, and then finds no kernel."""
    if settings.framework_args.precision != "bfloat16" or settings.backend.args.get(levels.KEY) != "avx2":
        return None
    return f"OpenVINO needs avx512 for bfloat16, {levels.KEY} is avx2; raise it, or set precision: float32"


def _dynamic_products(settings: Settings) -> str | None:
    if settings.quantization_approach != "mixed" or not settings.has_dynamic_products:
        return None
    return (
        "framework openvino has no fast kernel for products with dynamic activations (DynamicQuantizeLinear with "
        "MatMulInteger); set placement.default and all of placement.matmuls to static or float"
    )


def _static_only(name: str, settings: Settings) -> str | None:
    """Arguments of the quantizer of static models, which must be at their defaults for others."""
    approach = settings.quantization_approach
    unset = getattr(typed(Args, settings), name) == Args.model_fields[name].default
    if unset or approach == "static":
        return None
    return f"framework_args.{name} belongs to quantization_approach static, not {approach}; remove it"


RULES = (
    *(
        Rule((f"framework_args.{name}", "quantization_approach", "framework"), partial(_static_only, name))
        for name in own_fields(Args)
    ),
    Rule(("framework_args.precision", "framework", f"backend.args.{levels.KEY}"), _capped_bfloat16),
    Rule(("placement.default", "placement.matmuls", "quantization_approach", "framework"), _dynamic_products),
)


def load(spec: ArmSpec, num_threads: int) -> Session:
    """Compile the ONNX file or IR ``spec.path`` in the precision ``spec.options['precision']``."""
    return wired(served.load(spec.path, spec.options, num_threads), spec.options)


def signature(session: Any) -> Signature:
    """Inputs and outputs of the compiled model."""
    compiled = session.compiled
    return Signature(inputs=tuple(map(_tensor, compiled.inputs)), outputs=tuple(map(_tensor, compiled.outputs)))


def _tensor(item: Any) -> Tensor:
    names = sorted(item.get_names())
    shape = item.get_partial_shape()
    sizes = None if shape.rank.is_dynamic else tuple(size.get_length() if size.is_static else None for size in shape)
    return Tensor(name=names[0] if names else "", type=item.get_element_type().to_dtype().name, shape=sizes)


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the precision of what is not computed in int8."""
    return {"precision": settings.framework_args.precision}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Layers of the executable graph, by type and the precision that they compute in, such as FullyConnected [u8]."""
    counts: Counter[str] = Counter()
    for node in served.compiled(spec.path, spec.options, 1).get_runtime_model().get_ops():
        about = node.get_rt_info()
        kind, precision = (about[key].astype(str) for key in ("layerType", "runtimePrecision"))
        if kind not in DATA_LAYERS:
            counts[f"{kind} [{precision}]"] += 1
    return dict(sorted(counts.items()))


def precisions(instruction_sets: Collection[str]) -> tuple[Precision, ...]:
    """bfloat16 only where the CPU computes in it."""
    fast = set(BFLOAT16_SETS).intersection(instruction_sets)
    return ("bfloat16", "float32") if fast else ("float32",)


def is_integer(operator: str) -> bool:
    """By the type and the precision of a layer."""
    return operator in INTEGER_LAYERS


def why_float(settings: Settings) -> str:
    """The CPU decides; no setting helps."""
    return f"Framework {settings.framework} runs the quantized graph in float on this CPU, rounding in between"


def notes(settings: Settings, environment: Environment) -> tuple[str, ...]:
    """What a cap did not reach, and that bfloat16 is emulated where it is."""
    emulates = levels.lacks_precision(settings.framework_args.precision, environment)
    return (*([PARTLY_CAPPED] if environment.cap else []), *([EMULATED] if emulates else []))

"""PyTorch, eager. In float32, as the checkpoint was given, it is the arm that all others are measured against."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quantbench.plugins import registry
from quantbench.plugins.protocols import Rule
from quantbench.plugins.signature import Signature
from quantbench.runtimes._caps import UNCAPPED
from quantbench.runtimes._checkpoint import unchanged
from quantbench.schema.results import ArmSpec, Environment
from quantbench.schema.settings import FrameworkArgs, Mode, Precision, Settings
from quantbench.served import pytorch as served
from quantbench.system import instruction_sets

SUMMARY = "PyTorch, eager: the original in float32, or in bfloat16"
OPERATORS: Mapping[str, tuple[str, ...]] = {"none": ()}
QUANTIZERS: Mapping[str, str] = {"none": "checkpoint"}
LOADS_FOLDER = True
ENDINGS: tuple[str, ...] = ()
FAST_PRODUCTS: tuple[Mode, ...] = ()
OWN_OPERATORS = False
LIBRARIES = ("torch", "transformers")
IMPORTED = ("transformers.modeling_utils",)
"""What loading a model would import: most of the time that it took, which here passes while other arms start."""
EXTRA = ""
FLOAT_RUNTIME = "onnxruntime"
EXECUTED = EXECUTED_ALONE = ""
EMULATED = "bfloat16 without avx512_bf16 or amx_bf16: PyTorch emulates it, which costs time"
SERVED = served


class Args(FrameworkArgs, extra="forbid"):
    """No options but those that every runtime has."""


def _original_itself(settings: Settings) -> str | None:
    if settings.framework_args.precision != "float32" or settings.quantization_approach != "none":
        return None
    return (
        "framework pytorch in float32 is the original itself, there would be nothing to compare; "
        "set framework_args.precision: bfloat16, or choose another framework"
    )


RULES = (
    Rule(("framework_args.precision", "framework", "quantization_approach"), _original_itself),
    Rule(("pruning", "positions", "embedding_tables", "aware_training", "framework"), unchanged),
)


def load(spec: ArmSpec, num_threads: int) -> served.PyTorchSession:
    """Load the checkpoint folder ``spec.path``.

    ``spec.options`` names the transformers class (``auto_class``) and, unless it is float32, the ``precision``.
    """
    return served.load(spec.path, spec.options, num_threads)


def signature(session: Any) -> Signature:
    """Never asked for: a checkpoint is no file by itself."""
    return Signature()


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the class of its task, what may be loaded, and the precision unless it is float32."""
    allowed = {name: True for name in ("trust_remote_code", "allow_pickled_weights") if getattr(settings, name)}
    precision = settings.framework_args.precision
    lowered = {} if precision == "float32" else {"precision": precision}
    return {"auto_class": registry.task(settings.task).AUTO_CLASS, **allowed, **lowered}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Nothing: eager PyTorch has no graph to look at."""
    return {}


def precisions(instruction_sets: Collection[str]) -> tuple[Precision, ...]:
    """That of the original: eager PyTorch is what ``tune`` is to beat."""
    return ("float32",)


def is_integer(operator: str) -> bool:
    """Never: no operators are executed that could be named."""
    return False


def why_float(settings: Settings) -> str:
    """Never asked for: there are no quantized models."""
    return f"Framework {settings.framework} computes in float"


def notes(settings: Settings, environment: Environment) -> tuple[str, ...]:
    """What a cap did not reach, of the float export, and that bfloat16 is emulated where it is."""
    emulates = instruction_sets.lacks_precision(settings.framework_args.precision, environment)
    return (*([UNCAPPED] if environment.cap else []), *([EMULATED] if emulates else []))

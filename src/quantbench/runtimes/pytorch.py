"""PyTorch, eager. In float32, as the checkpoint was given, it is the arm that all others are measured against."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import JsonValue

from quantbench.plugins import registry
from quantbench.plugins.protocols import Rule
from quantbench.runtimes import _checkpoint
from quantbench.runtimes._caps import UNCAPPED
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
    Rule(("pruning", "positions", "embedding_tables", "aware_training", "framework"), _checkpoint.unchanged),
)
signature = _checkpoint.signature
executed = _checkpoint.executed
is_integer = _checkpoint.is_integer
why_float = _checkpoint.why_float


def load(spec: ArmSpec, num_threads: int) -> served.PyTorchSession:
    """Load the checkpoint folder ``spec.path``.

    ``spec.options`` names the transformers class (``auto_class``) and, unless it is float32, the ``precision``.
    """
    return served.load(spec.path, spec.options, num_threads)


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the class of its task, what may be loaded, and the precision unless it is float32."""
    allowed = {name: True for name in ("trust_remote_code", "allow_pickled_weights") if getattr(settings, name)}
    precision = settings.framework_args.precision
    lowered = {} if precision == "float32" else {"precision": precision}
    return {"auto_class": registry.task(settings.task).AUTO_CLASS, **allowed, **lowered}


def precisions(instruction_sets: Collection[str]) -> tuple[Precision, ...]:
    """That of the original: eager PyTorch is what ``tune`` is to beat."""
    return ("float32",)


def notes(settings: Settings, environment: Environment) -> tuple[str, ...]:
    """What a cap did not reach, of the float export, and that bfloat16 is emulated where it is."""
    emulates = instruction_sets.lacks_precision(settings.framework_args.precision, environment)
    return (*([UNCAPPED] if environment.cap else []), *([EMULATED] if emulates else []))

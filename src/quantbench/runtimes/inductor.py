"""PyTorch compiled ahead of time by Inductor, the compiler of ``torch.compile``, into one package (AOTInductor)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.runtimes import _checkpoint
from quantbench.runtimes._caps import UNCAPPED
from quantbench.schema.results import ArmSpec, Environment
from quantbench.schema.settings import FrameworkArgs, Mode, Precision, Settings
from quantbench.served import inductor as served
from quantbench.system import instruction_sets

SUMMARY = "PyTorch compiled ahead of time, weights packed; needs a C++ compiler to make it"
OPERATORS: Mapping[str, tuple[str, ...]] = {"none": (), "static": ("MatMul",), "dynamic": ("MatMul",)}
"""torchao chooses what it quantizes; the default is all that can be named."""
QUANTIZERS: Mapping[str, str] = {"none": "inductor", "static": "torchao", "dynamic": "torchao"}
LOADS_FOLDER = False
ENDINGS: tuple[str, ...] = ()
FAST_PRODUCTS: tuple[Mode, ...] = ()
OWN_OPERATORS = False
LIBRARIES = ("torch", "transformers")
EXTRA = ""
FLOAT_RUNTIME = "onnxruntime"
EXECUTED = EXECUTED_ALONE = ""
EMULATED = "bfloat16 without avx512_bf16 or amx_bf16: PyTorch emulates it, which costs time"
SERVED = served
RULES = (Rule(("pruning", "positions", "embedding_tables", "aware_training", "framework"), _checkpoint.unchanged),)
signature = _checkpoint.signature
executed = _checkpoint.executed
is_integer = _checkpoint.is_integer
why_float = _checkpoint.why_float


class Args(FrameworkArgs, extra="forbid"):
    """No options but those that every runtime has."""


def load(spec: ArmSpec, num_threads: int) -> served.InductorSession:
    """Load the package ``spec.path``."""
    return served.load(spec.path, spec.options, num_threads)


def options(settings: Settings) -> dict[str, JsonValue]:
    """None: the precision is compiled in."""
    return {}


def precisions(instruction_sets: Collection[str]) -> tuple[Precision, ...]:
    """None: compiling takes longer than a search's first answer may."""
    return ()


def notes(settings: Settings, environment: Environment) -> tuple[str, ...]:
    """That a cap did not reach it, and that bfloat16 is emulated where it is."""
    emulates = instruction_sets.lacks_precision(settings.framework_args.precision, environment)
    return (*([UNCAPPED] if environment.cap else []), *([EMULATED] if emulates else []))

"""PyTorch compiled ahead of time by Inductor, the compiler of ``torch.compile``, into one package (AOTInductor)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.plugins.signature import Signature
from quantbench.runtimes._caps import UNCAPPED
from quantbench.runtimes._checkpoint import unchanged
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
RULES = (Rule(("pruning", "positions", "embedding_tables", "aware_training", "framework"), unchanged),)


class Args(FrameworkArgs, extra="forbid"):
    """No options but those that every runtime has."""


def load(spec: ArmSpec, num_threads: int) -> served.InductorSession:
    """Load the package ``spec.path``."""
    return served.load(spec.path, spec.options, num_threads)


def signature(session: Any) -> Signature:
    """Never asked for: a package of another origin says nothing of its inputs."""
    return Signature()


def options(settings: Settings) -> dict[str, JsonValue]:
    """None: the precision is compiled in."""
    return {}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Nothing: compiled code has no graph to look at."""
    return {}


def precisions(instruction_sets: Collection[str]) -> tuple[Precision, ...]:
    """None: compiling takes longer than a search's first answer may."""
    return ()


def is_integer(operator: str) -> bool:
    """Never: no operators are executed that could be named."""
    return False


def why_float(settings: Settings) -> str:
    """Never asked for: there are no quantized models."""
    return f"Framework {settings.framework} computes in float"


def notes(settings: Settings, environment: Environment) -> tuple[str, ...]:
    """That a cap did not reach it, and that bfloat16 is emulated where it is."""
    emulates = instruction_sets.lacks_precision(settings.framework_args.precision, environment)
    return (*([UNCAPPED] if environment.cap else []), *([EMULATED] if emulates else []))

"""PyTorch, eager. In float32, as the checkpoint was given, it is the arm that all others are measured against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from quantbench.plugins import registry
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings
from quantbench.served import pytorch as served

SUMMARY = "PyTorch, eager: the original in float32, or in bfloat16"
OPERATORS: Mapping[str, tuple[str, ...]] = {"none": ()}
FILES = {"none": "model.safetensors"}
ARGS = ("opset", "precision")
LIBRARIES = ("torch", "transformers")
EXTRA = ""
SERVED = served


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


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Nothing: eager PyTorch has no graph to look at."""
    return {}

"""PyTorch, eager. In float32, as the checkpoint was given, it is the arm that all others are measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quantbench import registry
from quantbench.records import ArmSpec
from quantbench.settings import Settings
from quantbench.sources.checkpoints import accepted, load_checkpoint

SUMMARY = "PyTorch, eager: the original in float32, or in bfloat16"
OPERATORS: Mapping[str, tuple[str, ...]] = {"none": ()}
FILES = {"none": "model.safetensors"}
ARGS = ("opset", "precision")
LIBRARIES = ("torch", "transformers")
EXTRA = ""
INFER = """
import torch
import transformers

OPTIONS = json.loads({options!r})

def load():
    torch.set_num_threads(THREADS)
    saved_from = json.loads((FOLDER / "config.json").read_text())["architectures"][0]
    loader = getattr(transformers, saved_from, getattr(transformers, OPTIONS["auto_class"]))
    model = loader.from_pretrained(str(FOLDER), dtype="auto").eval()

    def run(inputs):
        with torch.inference_mode():
            outputs = model(**{{name: torch.from_numpy(array) for name, array in inputs.items()}})
        return [value.float().numpy() for value in outputs.to_tuple()]

    return run
"""


class PyTorchSession:
    """A loaded checkpoint; arrays in, arrays out. `model` is the transformers module."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs of one batch as float32 arrays: the model's logits-like outputs in their order."""
        outputs = self.prepare(inputs)()
        return [value.float().numpy() for value in _tensors(outputs)]

    def prepare(self, inputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call that runs one batch; its tensors are made here, outside of what is timed."""
        import torch

        model = self.model
        tensors = {name: torch.from_numpy(inputs[name]) for name in accepted(model, inputs)}

        def call() -> object:
            with torch.inference_mode():
                return model(**tensors)

        return call


def load(spec: ArmSpec, num_threads: int) -> PyTorchSession:
    """Load the checkpoint folder ``spec.path``.

    ``spec.options`` names the transformers class (``auto_class``) and, unless it is float32, the ``precision``.
    """
    import torch

    torch.set_num_threads(num_threads)
    return PyTorchSession(load_checkpoint(spec.path, spec.options).model)


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the class of its task, what may be loaded, and the precision unless it is float32."""
    allowed = {name: True for name in ("trust_remote_code", "allow_pickled_weights") if getattr(settings, name)}
    precision = settings.framework_args.precision
    lowered = {} if precision == "float32" else {"precision": precision}
    return {"auto_class": registry.task(settings.task).AUTO_CLASS, **allowed, **lowered}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Nothing: eager PyTorch has no graph to look at."""
    return {}


def _tensors(outputs: Any) -> list[Any]:
    return [value for value in outputs.to_tuple() if hasattr(value, "numpy")]

"""PyTorch in float32, eager, as the checkpoint was given. The arm that all others are measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quantbench.records import ArmSpec

SUMMARY = "PyTorch float32, the original"
OPERATORS: Mapping[str, tuple[str, ...]] = {"static": (), "dynamic": ()}
LIBRARIES = ("torch", "transformers")


class PyTorchSession:
    """A loaded checkpoint; arrays in, arrays out. `model` is the transformers module."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs of one batch as arrays: the model's logits-like outputs in their order."""
        outputs = self.prepare(inputs)()
        return [value.numpy() for value in _tensors(outputs)]

    def prepare(self, inputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call that runs one batch; its tensors are made here, outside of what is timed."""
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        model = self.model

        def call() -> object:
            with torch.inference_mode():
                return model(**tensors)

        return call


def load(spec: ArmSpec, num_threads: int) -> PyTorchSession:
    """Load the checkpoint folder ``spec.path`` with the transformers class named in ``spec.options['auto_class']``."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(num_threads)
    auto_class = getattr(transformers, str(spec.options["auto_class"]))
    model = auto_class.from_pretrained(
        spec.path,
        dtype=torch.float32,
        trust_remote_code=bool(spec.options.get("trust_remote_code")),
        use_safetensors=None if spec.options.get("allow_pickled_weights") else True,
    )
    return PyTorchSession(model.eval())


def _tensors(outputs: Any) -> list[Any]:
    return [value for value in outputs.to_tuple() if hasattr(value, "numpy")]

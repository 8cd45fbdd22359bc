"""PyTorch compiled ahead of time: packages of AOTInductor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LIBRARIES = ("torch",)
INPUTS = "inputs"
"""What the package says of itself: the names of its inputs, in their order, with commas."""


class InductorSession:
    """A loaded package; arrays in, arrays out."""

    def __init__(self, loaded: Any) -> None:
        self._loaded = loaded
        self._names = str(loaded.get_metadata()[INPUTS]).split(",")

    def predict(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs of one batch as float32 arrays, in the model's order."""
        outputs: Any = self.prepare(inputs)()
        return [value.float().numpy() for value in outputs]

    def prepare(self, inputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call that runs one batch; its tensors are made here, outside of what is timed."""
        import torch

        loaded = self._loaded
        tensors = tuple(torch.from_numpy(inputs[name]).contiguous() for name in self._names)

        def call() -> object:
            with torch.inference_mode():
                return loaded(*tensors)

        return call


def load(path: str, options: Mapping[str, Any], num_threads: int) -> InductorSession:
    """Load a package."""
    import torch
    from torch._inductor import aoti_load_package

    torch.set_num_threads(num_threads)
    return InductorSession(aoti_load_package(path))

"""Int8 by torchao's quantizer for Inductor on x86, which decides by itself what is quantized and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantbench.plugins.quantizing import Samples
from quantbench.quantize.compiled import write_compiled
from quantbench.schema.results import ArmSpec


def write_int8(original: ArmSpec, exported: Path, samples: Samples | None, path: Path) -> None:
    """Write a package of a checkpoint in int8.

    Args:
        original: the PyTorch arm of the model as it was given.
        exported: its float ONNX export.
        samples: that ranges of activations come from; None for dynamic quantization.
        path: of the package.

    Raises:
        RunFailed: if it cannot be compiled.

    """

    def int8(module: Any, examples: tuple[Any, ...], names: Sequence[str]) -> Any:
        import torch
        from torchao.quantization.pt2e import lowering  # noqa: F401 - it teaches Inductor to compute it in int8
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config(is_dynamic=samples is None))
        prepared = prepare_pt2e(module, quantizer)
        prepared(*examples) if samples is None else None
        for number in range(samples.count if samples else 0):
            arrays = samples.sample(number) if samples else {}
            prepared(*(torch.from_numpy(arrays[name]) for name in names))
        return convert_pt2e(prepared)

    write_compiled(original, exported, "float32", path, int8)

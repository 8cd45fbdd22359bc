"""What static and dynamic int8 by ONNX Runtime's quantizer share: all but what they read of the calibration split."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from quantbench.plugins.quantizing import Candidate, QuantizerInputs
from quantbench.schema.settings import Recipe, Settings

LIBRARIES = ("onnx", "onnxruntime")


def write(settings: Recipe, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
    """See ``quantize.with_onnxruntime``; nothing is chosen that the settings leave open."""
    from quantbench.quantize.with_onnxruntime import write_quantized

    ranges = None if inputs.ranges is None else dict(inputs.ranges)
    write_quantized(inputs.exported, settings, inputs.types, inputs.keep, ranges, path)
    return {}


def candidates(base: Settings) -> list[Candidate]:
    """None: ``mixed`` makes the same products one by one, and so can spare those that hurt."""
    return []

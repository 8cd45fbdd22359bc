"""Dynamic int8 by ONNX Runtime's quantizer: ranges of activations are found at run time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Candidate, QuantizerInputs, Reads
from quantbench.quantizers import _onnx
from quantbench.schema.settings import Settings

SUMMARY = "dynamic int8 by ONNX Runtime's quantizer, ranges found at run time"
FILE = _onnx.FILE
LIBRARIES = ("onnx", "onnxruntime")
EXTRA = ""
DECIDES: Mapping[str, JsonValue] = {}
RULES: tuple[Rule, ...] = ()
NOTE = ""
files = _onnx.files
inspect = _onnx.inspect


def reads(settings: Settings) -> Reads:
    """No calibration."""
    return "nothing"


def write(settings: Settings, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
    """See ``quantize.with_onnxruntime``; nothing is chosen that the settings leave open."""
    from quantbench.quantize.with_onnxruntime import write_quantized

    ranges = None if inputs.ranges is None else dict(inputs.ranges)
    write_quantized(inputs.exported, settings, inputs.types, inputs.keep, ranges, path)
    return {}


def candidates(base: Settings) -> list[Candidate]:
    """None: ``mixed`` makes the same products one by one, and so can spare those that hurt."""
    return []

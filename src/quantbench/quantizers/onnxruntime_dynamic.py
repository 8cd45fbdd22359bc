"""Dynamic int8 by ONNX Runtime's quantizer: ranges of activations are found at run time."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Reads
from quantbench.quantizers import _onnx, _onnxruntime
from quantbench.schema.settings import Recipe

SUMMARY = "dynamic int8 by ONNX Runtime's quantizer, ranges found at run time"
FILE = _onnx.FILE
LIBRARIES = _onnxruntime.LIBRARIES
EXTRA = ""
DECIDES: Mapping[str, JsonValue] = {}
RULES: tuple[Rule, ...] = ()
NOTE = ""
files = _onnx.files
inspect = _onnx.inspect
write_embedding = _onnx.write_embedding
write = _onnxruntime.write
candidates = _onnxruntime.candidates


def reads(settings: Recipe) -> Reads:
    """No calibration."""
    return "nothing"

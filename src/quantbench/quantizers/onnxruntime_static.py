"""Static int8 by ONNX Runtime's quantizer from ranges of our own, as quantizing and dequantizing nodes (QDQ)."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from quantbench.plugins import registry
from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Candidate, Reads
from quantbench.quantizers import _onnx, _onnxruntime
from quantbench.schema.settings import Recipe, Settings

SUMMARY = "static int8 by ONNX Runtime's quantizer, ranges from calibration"
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


def reads(settings: Recipe) -> Reads:
    """Ranges of every float tensor."""
    return "ranges"


def candidates(base: Settings) -> list[Candidate]:
    """Convolutions and products, of models that read pictures; of others ``mixed`` makes the same products one by one.

    ``mixed`` knows products only, so that of a convolutional model it would leave nearly all in float.
    """
    if registry.task(base.task).PROCESSOR.HAS_LENGTH:
        return []
    settings = base.model_copy(update={"operators_to_quantize": ("Conv", "Gemm", "MatMul")})
    return [Candidate(f"{base.framework}-static-conv", settings)]

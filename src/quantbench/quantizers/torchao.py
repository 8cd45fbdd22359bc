"""Int8 by torchao, compiled ahead of time by Inductor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Candidate, NoEmbedding, QuantizerInputs, Reads
from quantbench.quantizers import _opaque
from quantbench.quantizers._decided import GRANULARITY, decided_alone
from quantbench.schema.settings import Recipe, Settings

if TYPE_CHECKING:
    from quantbench.served.modules import Head

SUMMARY = "int8 by torchao, static or dynamic, compiled ahead of time"
FILE = "model.pt2"
LIBRARIES = ("torch", "transformers", "torchao")
EXTRA = "torchao"
DECIDES = GRANULARITY
NOTE = (
    "With framework inductor torchao's quantizer for x86 chose operators, granularity and number types; static ranges "
    "are those of its histograms"
)


def _precision(settings: Settings) -> str | None:
    if settings.framework_args.precision == "float32":
        return None
    return "torchao quantizes the checkpoint in float32; leave framework_args.precision out"


RULES = (
    *decided_alone(DECIDES, "torchao"),
    Rule(("framework_args.precision", "framework", "quantization_approach"), _precision),
)

files = _opaque.files
inspect = _opaque.inspect


def reads(settings: Recipe) -> Reads:
    """Samples, over which it collects ranges itself."""
    return "samples" if settings.calibrated else "nothing"


def write(settings: Recipe, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
    """See ``quantize.with_torchao``."""
    from quantbench.quantize.with_torchao import write_int8

    write_int8(inputs.original, inputs.exported, inputs.samples, path)
    return {"activation_type": "uint8", "weight_type": "int8", "per_channel": True, "operators_to_quantize": ["linear"]}


def write_embedding(path: Path, head: Head, prompt: int, folder: Path) -> Path:
    """There is no graph that modules could go into."""
    raise NoEmbedding("it is compiled, which its modules stand behind as in the original's folder")


def candidates(base: Settings) -> list[Candidate]:
    """None: compiling takes longer than a search's first answer may."""
    return []

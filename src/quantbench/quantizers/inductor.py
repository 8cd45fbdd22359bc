"""The checkpoint compiled ahead of time by Inductor, in float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Candidate, NoEmbedding, QuantizerInputs, Reads
from quantbench.quantizers import _opaque, _unquantized
from quantbench.schema.settings import Recipe, Settings

if TYPE_CHECKING:
    from quantbench.served.modules import Head

SUMMARY = "the checkpoint compiled ahead of time, weights packed"
FILE = "model.pt2"
LIBRARIES = ("torch", "transformers")
EXTRA = ""
DECIDES: Mapping[str, JsonValue] = {}
RULES: tuple[Rule, ...] = ()
NOTE = ""

files = _opaque.files
inspect = _opaque.inspect


def reads(settings: Recipe) -> Reads:
    """No calibration."""
    return "nothing"


def write(settings: Recipe, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
    """See ``quantize.compiled``."""
    from quantbench.quantize.compiled import write_compiled

    write_compiled(inputs.original, inputs.exported, settings.framework_args.precision, path)
    return _unquantized.recipe(settings)


def write_embedding(path: Path, head: Head, prompt: int, folder: Path) -> Path:
    """There is no graph that modules could go into."""
    raise NoEmbedding("it is compiled, which its modules stand behind as in the original's folder")


def candidates(base: Settings) -> list[Candidate]:
    """None: compiling takes longer than a search's first answer may."""
    return []

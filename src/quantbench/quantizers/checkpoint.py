"""The checkpoint in another precision than it was given in, such as bfloat16."""

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

SUMMARY = "the checkpoint in another precision"
FILE = "model.safetensors"
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
    """See ``quantize.checkpoint``; configuration and code are written beside the weights."""
    from quantbench.quantize.checkpoint import write_checkpoint

    write_checkpoint(inputs.original, settings.framework_args.precision, path)
    return _unquantized.recipe(settings)


def write_embedding(path: Path, head: Head, prompt: int, folder: Path) -> Path:
    """There is no graph that modules could go into."""
    raise NoEmbedding("it is a checkpoint of PyTorch, which its modules stand behind as in the original's folder")


def candidates(base: Settings) -> list[Candidate]:
    """None: eager PyTorch is what ``tune`` is to beat."""
    return []

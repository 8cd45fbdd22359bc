"""The float ONNX export as it is, which the runtime computes in the precision of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Candidate, QuantizerInputs, Reads
from quantbench.quantizers import _onnx, _unquantized
from quantbench.schema.settings import Recipe, Settings

SUMMARY = "the float ONNX export as it is"
FILE = _onnx.FILE
LIBRARIES = ("onnx",)
EXTRA = ""
DECIDES: Mapping[str, JsonValue] = {}
RULES: tuple[Rule, ...] = ()
NOTE = ""
files = _onnx.files
inspect = _onnx.inspect
write_embedding = _onnx.write_embedding


def reads(settings: Recipe) -> Reads:
    """No calibration."""
    return "nothing"


def write(settings: Recipe, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
    """A copy of the export."""
    from quantbench.graph import external
    from quantbench.system import onnx_files

    onnx_files.write(external.read(inputs.exported), path)
    return _unquantized.recipe(settings)


def candidates(base: Settings) -> list[Candidate]:
    """The export in the precision of ``base``."""
    return [Candidate(f"{base.framework}-{base.framework_args.precision}", base)]

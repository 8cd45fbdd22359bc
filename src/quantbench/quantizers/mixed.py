"""Own placement of int8, product by product: in float, with dynamic activations or with static ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from quantbench.plugins import registry
from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Candidate, QuantizerInputs, Reads, least_squares
from quantbench.quantizers import _onnx
from quantbench.schema.settings import Mode, Placement, Recipe, Settings
from quantbench.system.instruction_sets import BFLOAT16_SETS

SUMMARY = "int8 product by product: float, dynamic or static"
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
    """Statistics of activations, where some are looked at beforehand."""
    return "statistics" if settings.calibrated else "nothing"


def write(settings: Recipe, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
    """See ``quantize.mixed.write``; ``modes`` says what became of every product."""
    from quantbench.quantize.mixed.write import write_mixed

    statistics = dict(inputs.statistics)
    modes = write_mixed(inputs.exported, settings, inputs.types[1], inputs.keep, statistics, path)
    return {"modes": dict(modes)}


def candidates(base: Settings) -> list[Candidate]:
    """Every mode that the runtime computes fast; with its own operators, also with merged products."""
    runtime = registry.runtime(base.framework)
    merging = (False, True) if runtime.OWN_OPERATORS else (False,)
    return [_candidate(base, mode, merged) for mode in runtime.FAST_PRODUCTS for merged in merging]


def _candidate(base: Settings, mode: Mode, merged: bool) -> Candidate:
    """One mode throughout; a product that hurts is computed dynamically instead, if that is fast, or in float."""
    runtime = registry.runtime(base.framework)
    several = len(runtime.precisions(BFLOAT16_SETS)) > 1  # on some host, so that names are the same on all
    rest = f"-{base.framework_args.precision}" if several else ""
    name = f"{base.framework}-{mode}{'-merged' if merged else ''}{rest}"
    dynamic = mode == "static" and "dynamic" in runtime.FAST_PRODUCTS
    in_float = f"{base.framework}{rest}" if rest else ""
    operators = base.framework if runtime.OWN_OPERATORS else "standard"
    placement = Placement.model_validate({"default": mode, "merge": merged, "operators": operators})
    calibration = least_squares(base.calibration) if mode == "static" else base.calibration
    return Candidate(
        name=name,
        settings=base.model_copy(update={"placement": placement, "calibration": calibration}),
        mode=mode,
        fallback="dynamic" if dynamic else "float",
        instead=name.replace("static", "dynamic") if dynamic else in_float,
    )

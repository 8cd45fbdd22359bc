"""Parameters that a library decides by itself, so that other values than their defaults are refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import JsonValue

from quantbench.plugins.protocols import Rule
from quantbench.schema.settings import Calibration, Settings

GRANULARITY: Mapping[str, JsonValue] = {
    **{
        key: Settings.model_fields[key].default
        for key in ("operators_to_quantize", "node_exclusion", "per_channel", "activation_type", "weight_type")
    },
    **{f"calibration.{key}": Calibration.model_fields[key].default for key in ("method", "moving_average")},
}
"""What is quantized, with which numbers and ranges: keys of parameters and their defaults."""


def decided_alone(decides: Mapping[str, JsonValue], library: str, otherwise: str = "") -> tuple[Rule, ...]:
    """A rule for each of them.

    Args:
        decides: as of a quantizer.
        library: that decides.
        otherwise: what else a message offers than to remove the parameter.

    """

    def check(key: str, settings: Settings) -> str | None:
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        if value == decides[key]:
            return None
        return (
            f"with framework {settings.framework} and quantization_approach {settings.quantization_approach} {library} "
            f"decides {key} by itself; remove it{otherwise}"
        )

    return tuple(Rule((key, "quantization_approach", "framework"), partial(check, key)) for key in decides)

"""Models without int8."""

from __future__ import annotations

from pydantic import JsonValue

from quantbench.schema.settings import Recipe


def recipe(settings: Recipe) -> dict[str, JsonValue]:
    """Number types are the precision that everything is computed in; no operator is quantized."""
    precision = settings.framework_args.precision
    return {"activation_type": precision, "weight_type": precision, "operators_to_quantize": []}

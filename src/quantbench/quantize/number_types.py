"""8-bit number types of activations and weights, ``auto`` resolved by what the CPU computes fast and exactly."""

from __future__ import annotations

from collections.abc import Collection

from quantbench.schema.settings import Recipe

DOT_PRODUCT_SETS = ("avx512_vnni", "avx_vnni", "amx_int8")
UNSIGNED = ("dynamic", "mixed")
"""Approaches whose files compute with unsigned activations (DynamicQuantizeLinear; ``int8.activation``)."""


def resolve(settings: Recipe, instruction_sets: Collection[str]) -> tuple[str, str]:
    """Types of activations and weights, each ``uint8`` or ``int8``.

    Source: ONNX Runtime, "Quantize ONNX models", data type selection. On x86 the kernels take unsigned activations;
    with VNNI or AMX signed weights are fastest, without them (``VPMADDUBSW``) signed weights can saturate, so weights
    are unsigned too. Elsewhere (Arm) both are signed. Dynamic quantization and own placement (``mixed``) always have
    unsigned activations. Unsigned weights have unsigned activations everywhere: ONNX Runtime has no kernels for the
    other pair, which ``rules`` refuses where it is asked for.
    """
    x86 = "avx2" in instruction_sets
    fast = any(name in instruction_sets for name in DOT_PRODUCT_SETS)
    unsigned = x86 or settings.quantization_approach in UNSIGNED or settings.weight_type == "uint8"
    activation = "uint8" if unsigned else "int8"
    if settings.activation_type != "auto":
        activation = settings.activation_type
    weight = "uint8" if x86 and not fast and activation == "uint8" else "int8"
    return activation, weight if settings.weight_type == "auto" else settings.weight_type

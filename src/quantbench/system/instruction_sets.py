"""``supported_instructions``: what the host must have, and the most that runtimes may use where they can be capped.

Sources: PyTorch, ``ATEN_CPU_CAPABILITY``; oneDNN developer guide, "CPU dispatcher control". OpenVINO obeys the latter
where it uses oneDNN's dispatcher (seen in 2026.4: int8 and bfloat16 products, attention, softmax). ONNX Runtime chooses
its kernels by CPUID and has no such setting. The card says what was not capped, in the words of the runtime.
"""

from __future__ import annotations

import os

from quantbench.schema.results import Environment

KEY = "supported_instructions"
LEVELS: dict[str, tuple[str, ...]] = {
    "avx2": ("avx2",),
    "avx512": ("avx2", "avx512"),
    "avx512_vnni": ("avx2", "avx512", "avx512_vnni", "avx_vnni"),
    "amx": ("avx2", "avx512", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
}
"""Instruction sets that may be used at each level."""
REQUIRED = {"avx2": "avx2", "avx512": "avx512", "avx512_vnni": "avx512_vnni", "amx": "amx_int8"}
"""The instruction set that the host must have for a level."""
CAPS = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx512_vnni": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "amx": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"},
}
"""Environment variables that cap PyTorch's own kernels and oneDNN's; read when the libraries are loaded."""
BFLOAT16_SETS = ("avx512_bf16", "amx_bf16")
"""Instruction sets that compute in bfloat16."""


def unmet(level: str, environment: Environment) -> str | None:
    """A message if the host lacks what a level requires."""
    if REQUIRED[level] in environment.instruction_sets:
        return None
    has = ", ".join(environment.instruction_sets) or "none of those that are known"
    return f"this machine has no {REQUIRED[level]}; it has {has}. Choose another level or another machine"


def cap(level: str, environment: Environment) -> Environment:
    """Cap the libraries that this process and its children load from now on; the environment then says so."""
    os.environ.update(CAPS[level])
    return environment.model_copy(update={"cap": level})


def lacks_precision(precision: str, environment: Environment) -> bool:
    """Whether no instruction set that may be used here computes in a precision."""
    return precision == "bfloat16" and not set(BFLOAT16_SETS).intersection(usable(environment))


def usable(environment: Environment) -> tuple[str, ...]:
    """Instruction sets that the host has and the cap allows."""
    if environment.cap is None:
        return environment.instruction_sets
    return tuple(name for name in environment.instruction_sets if name in LEVELS[environment.cap])

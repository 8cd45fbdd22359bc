"""Number types, chosen by instruction set."""

from __future__ import annotations

import pytest

from quantbench.quantize.types import resolve
from quantbench.settings import Dataset, Settings

AVX2 = ("sse4_2", "avx", "avx2", "fma")
AVX512 = (*AVX2, "avx512f", "avx512bw")


def settings(approach: str, activation: str = "auto", weight: str = "auto") -> Settings:
    return Settings(
        task="token-classification",
        model_name_or_path="model",
        dataset=Dataset(path="data"),
        quantization_approach=approach,
        activation_type=activation,
        weight_type=weight,
    )


@pytest.mark.parametrize(
    ("instruction_sets", "static", "dynamic"),
    [
        (AVX2, ("uint8", "uint8"), ("uint8", "uint8")),
        (AVX512, ("uint8", "uint8"), ("uint8", "uint8")),
        ((*AVX2, "avx_vnni"), ("uint8", "int8"), ("uint8", "int8")),
        ((*AVX512, "avx512_vnni"), ("uint8", "int8"), ("uint8", "int8")),
        ((*AVX512, "avx512_vnni", "amx_tile", "amx_int8"), ("uint8", "int8"), ("uint8", "int8")),
        (("asimd", "asimddp", "i8mm"), ("int8", "int8"), ("uint8", "int8")),
        ((), ("int8", "int8"), ("uint8", "int8")),
    ],
)
def test_auto_follows_the_instruction_sets(instruction_sets, static, dynamic):
    assert resolve(settings("static"), instruction_sets) == static
    assert resolve(settings("dynamic"), instruction_sets) == dynamic


@pytest.mark.parametrize("instruction_sets", [AVX2, (*AVX512, "avx512_vnni"), ("asimd",)])
@pytest.mark.parametrize("activation", ["uint8", "int8"])
@pytest.mark.parametrize("weight", ["uint8", "int8"])
def test_what_was_asked_for_is_taken(instruction_sets, activation, weight):
    assert resolve(settings("static", activation, weight), instruction_sets) == (activation, weight)


def test_auto_weights_fit_to_the_activations_asked_for():
    assert resolve(settings("static", activation="int8"), AVX2) == ("int8", "int8")
    assert resolve(settings("static", activation="uint8"), AVX2) == ("uint8", "uint8")
    assert resolve(settings("static", activation="uint8"), ("asimd",)) == ("uint8", "int8")
    assert resolve(settings("static", weight="int8"), AVX2) == ("uint8", "int8")

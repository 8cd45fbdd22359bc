"""Number types, chosen by instruction set."""

from __future__ import annotations

import itertools

import pytest

from quantbench.quantize.number_types import DOT_PRODUCT_SETS, resolve
from quantbench.schema.settings import Dataset, Settings
from quantbench.system.environment import INSTRUCTION_SETS

PLAIN_X86 = ("avx2",)
AVX512 = ("avx2", "avx512")
ARM = ("neon", "dotprod", "i8mm")


def settings(approach: str, activation: str = "auto", weight: str = "auto") -> Settings:
    return Settings(
        task="token-classification",
        model_name_or_path="model",
        dataset=Dataset(path="data"),
        quantization_approach=approach,
        activation_type=activation,
        weight_type=weight,
    )


def test_the_names_here_are_those_that_the_environment_yields():
    assert {*PLAIN_X86, *AVX512, *ARM, *DOT_PRODUCT_SETS} <= set(INSTRUCTION_SETS)


@pytest.mark.parametrize(
    ("instruction_sets", "static", "dynamic"),
    [
        (PLAIN_X86, ("uint8", "uint8"), ("uint8", "uint8")),
        (AVX512, ("uint8", "uint8"), ("uint8", "uint8")),
        ((*PLAIN_X86, "avx_vnni"), ("uint8", "int8"), ("uint8", "int8")),
        ((*AVX512, "avx512_vnni"), ("uint8", "int8"), ("uint8", "int8")),
        ((*AVX512, "avx512_vnni", "amx_int8"), ("uint8", "int8"), ("uint8", "int8")),
        (ARM, ("int8", "int8"), ("uint8", "int8")),
        ((), ("int8", "int8"), ("uint8", "int8")),
    ],
)
def test_auto_follows_the_instruction_sets(instruction_sets, static, dynamic):
    assert resolve(settings("static"), instruction_sets) == static
    assert resolve(settings("dynamic"), instruction_sets) == dynamic
    assert resolve(settings("mixed"), instruction_sets) == dynamic, "own placement writes unsigned activations only"


@pytest.mark.parametrize("instruction_sets", [PLAIN_X86, (*AVX512, "avx512_vnni"), ARM])
@pytest.mark.parametrize("activation", ["uint8", "int8"])
@pytest.mark.parametrize("weight", ["uint8", "int8"])
def test_what_was_asked_for_is_taken(instruction_sets, activation, weight):
    assert resolve(settings("static", activation, weight), instruction_sets) == (activation, weight)


def test_auto_weights_fit_to_the_activations_asked_for():
    assert resolve(settings("static", activation="int8"), PLAIN_X86) == ("int8", "int8")
    assert resolve(settings("static", activation="uint8"), PLAIN_X86) == ("uint8", "uint8")
    assert resolve(settings("static", activation="uint8"), ARM) == ("uint8", "int8")
    assert resolve(settings("static", weight="int8"), PLAIN_X86) == ("uint8", "int8")


def test_auto_activations_fit_to_the_weights_asked_for():
    assert resolve(settings("static", weight="uint8"), ARM) == ("uint8", "uint8")


def test_auto_never_yields_the_pair_without_kernels():
    sets = [PLAIN_X86, AVX512, (*AVX512, "avx512_vnni"), ARM, ()]
    for approach, weight, host in itertools.product(("static", "dynamic", "mixed"), ("auto", "uint8", "int8"), sets):
        assert resolve(settings(approach, weight=weight), host) != ("int8", "uint8"), (approach, weight, host)

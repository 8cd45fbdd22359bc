"""A level is a requirement of the host and a cap on libraries."""

import os
import subprocess
import sys

import pytest
from tests.support.example_results import ENVIRONMENT

from quantbench.config.load import build_config
from quantbench.errors import BadInput
from quantbench.quantize import number_types
from quantbench.system import instruction_sets
from quantbench.system.environment import detect


def environment(*sets):
    return ENVIRONMENT.model_copy(update={"instruction_sets": sets})


@pytest.mark.parametrize(
    ("level", "sets", "met"),
    [
        ("avx2", ("avx2",), True),
        ("avx512", ("avx2",), False),
        ("avx512", ("avx2", "avx512"), True),
        ("avx512_vnni", ("avx2", "avx512"), False),
        ("amx", ("avx2", "avx512", "avx512_vnni"), False),
        ("amx", ("avx2", "avx512", "avx512_vnni", "amx_int8"), True),
    ],
)
def test_what_the_host_lacks_is_named_with_what_it_has(level, sets, met):
    message = instruction_sets.unmet(level, environment(*sets))
    assert (message is None) == met
    if message:
        assert f"no {instruction_sets.REQUIRED[level]}" in message
        assert sets[-1] in message


def test_the_cap_decides_the_number_types(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    found = environment("avx2", "avx512", "avx512_vnni")
    settings = build_config({"task": "token-classification", "model_name_or_path": "m", "dataset": "demo"}, {}, "").base
    assert number_types.resolve(settings, instruction_sets.usable(found)) == ("uint8", "int8")
    capped = instruction_sets.cap("avx2", found)
    assert instruction_sets.usable(capped) == ("avx2",)
    assert number_types.resolve(settings, instruction_sets.usable(capped)) == ("uint8", "uint8")


@pytest.mark.skipif("avx512" not in detect().instruction_sets, reason="only a host with more can be capped")
def test_pytorch_really_uses_no_more_than_the_cap():
    code = (
        "from quantbench.system import instruction_sets, environment; instruction_sets.cap('avx2', environment.detect());"
        "import torch; print(torch.backends.cpu.get_cpu_capability())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "AVX2"


@pytest.mark.parametrize(
    ("args", "words"),
    [({"supported_instructions": "avx1024"}, "avx512"), ({"instance_type": "ml.m5.large"}, "unknown argument")],
)
def test_wrong_arguments_of_the_backend_are_refused(args, words):
    data = {
        "task": "token-classification",
        "model_name_or_path": "m",
        "dataset": "demo",
        "backend": {"name": "local", "args": args},
    }
    with pytest.raises(BadInput, match=words):
        build_config(data, {}, "x.yaml")

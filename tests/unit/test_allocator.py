"""The allocator of timed processes: told to keep what is freed, unless the user has set something."""

import os
import subprocess
import sys

import pytest

from quantbench.system import allocator

FAULTS = """
import resource
blocks = [bytearray(1 << 20) for _ in range(8)]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(100):
    blocks.clear()
    blocks.extend(bytearray(1 << 20) for _ in range(8))
print(faults() - before)
"""
"""Counts pages that are fetched while 8 MiB are freed and taken a hundred times; glibc's C heap serves such blocks."""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("LD_PRELOAD", "GLIBC_TUNABLES", *(name for name in os.environ if name.startswith("MALLOC_"))):
        monkeypatch.delenv(name, raising=False)


def faults(variables):
    answer = subprocess.run(
        [sys.executable, "-c", FAULTS], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return int(answer.stdout)


def test_freed_memory_is_kept():
    if allocator.of_timed() != allocator.KEEPS:
        pytest.skip("no glibc here")
    returned = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
    assert faults(returned) > 100 * faults(allocator.variables()), "2,048 pages a time, or none after the first"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
        ("MALLOC_ARENA_MAX", "2"),
    ],
)
def test_what_the_user_has_set_stays(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert allocator.of_timed() == f"set by {name}"
    assert not allocator.variables()


@pytest.mark.parametrize(
    ("name", "value"), [("LD_PRELOAD", "libfakeroot.so"), ("GLIBC_TUNABLES", "glibc.pthread.rseq=0")]
)
def test_what_has_nothing_to_do_with_it_changes_nothing(monkeypatch, name, value):
    before = allocator.of_timed()
    monkeypatch.setenv(name, value)
    assert allocator.of_timed() == before


def test_another_c_library_has_its_default(monkeypatch):
    def unknown(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", unknown)
    assert allocator.of_timed() == allocator.DEFAULT
    assert not allocator.variables()

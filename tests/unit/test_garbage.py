"""Memory that is free goes back to the system."""

import sys

import numpy as np
import psutil
import pytest

from quantbench.system.garbage import give_back

MB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc's allocator")
def test_memory_that_is_free_goes_back():
    process = psutil.Process()
    kept = [np.ones(500) for _ in range(50_000)][-1]  # 200 MB, of which the last holds the heap where it is
    before = process.memory_info().rss
    give_back()
    assert process.memory_info().rss < before - 100 * MB
    assert kept.sum() == 500

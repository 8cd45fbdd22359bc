"""The environment is what the system says."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from quantbench.environment import INSTRUCTION_SETS, _cgroup_quota, detect, usable_cores


def test_instruction_sets_are_the_flags_of_the_cpu():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    expected = {name for name, flag in INSTRUCTION_SETS.items() if flag in flags}
    assert set(detect().instruction_sets) == expected


def test_versions_are_the_installed_ones():
    found = detect().versions
    assert found["onnxruntime"] == version("onnxruntime")
    assert found["torch"] == version("torch")


def test_cores_follow_the_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); from quantbench.environment import *; print(usable_cores())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


def test_a_quota_of_the_control_group_is_read(tmp_path):
    file = tmp_path / "cpu.max"
    assert _cgroup_quota(file) is None
    file.write_text("max 100000\n")
    assert _cgroup_quota(file) is None
    file.write_text("150000 100000\n")
    assert _cgroup_quota(file) == 1.5

"""The environment is what the system says; other machines are made up of their /proc and /sys."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.support.machines import arm, machine, siblings

from quantbench import discovery
from quantbench.analysis.machines import unlike
from quantbench.schema.results import ArmSpec
from quantbench.system import environment
from quantbench.system.control_groups import cpu_limit, memory_limit
from quantbench.system.environment import INSTRUCTION_SETS, cpus_used, detect, threads_problem, usable_cores
from quantbench.system.linux import Linux
from quantbench.system.processors import CPU, in_order, name_and_flags
from quantbench.timing import process

GROUP = "/sys/fs/cgroup"
PAIR = ("0x41", "0xd05"), ("0x41", "0xd0b")


@pytest.fixture
def allowed(monkeypatch):
    """Make up the CPUs that the process may run on."""
    return lambda count: monkeypatch.setattr(environment, "allowed_cpus", lambda: list(range(count)))


def numbers(made, count):
    return [cpu.number for cpu in in_order(made, range(count))]


def test_instruction_sets_are_the_flags_of_the_cpu():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    expected = {name for name, flag in INSTRUCTION_SETS.items() if flag in flags}
    assert set(detect().instruction_sets) == expected


def test_versions_are_the_installed_ones():
    found = detect().versions
    assert found["onnxruntime"] == version("onnxruntime")
    assert found["torch"] == version("torch")


def test_versions_are_those_of_every_benchmark_and_of_what_computes():
    own = {"quantbench", "python", "torch", "transformers", "datasets", "tokenizers", "onnx", "numpy"}
    assert set(detect().versions) == own | {"onnxruntime", "openvino", "nncf"}


def test_a_library_is_known_by_the_name_that_it_is_imported_by():
    assert discovery.version_of("PIL") == version("pillow")
    assert discovery.version_of("no_library_has_this_name") is None


def test_cores_follow_the_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); from quantbench.system.environment import *; print(usable_cores())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


# The processor


@pytest.mark.parametrize(
    ("cores", "name"),
    [
        ([("0x41", "0xd0c")], "ARM Neoverse-N1"),  # Graviton 2, Ampere Altra
        ([("0x41", "0xd40")], "ARM Neoverse-V1"),  # Graviton 3
        ([("0x41", "0xd4f")], "ARM Neoverse-V2"),  # Graviton 4, Grace, Axion
        ([("0x41", "0xd49")], "ARM Neoverse-N2"),  # Cobalt 100
        ([("0xc0", "0xac3")], "Ampere Ampere-1"),
        ([("0x61", "0x023")], "Apple Firestorm-M1"),
        (PAIR, "ARM Cortex-A55 + ARM Cortex-A76"),
        (PAIR[::-1], "ARM Cortex-A55 + ARM Cortex-A76"),
        ([("0x41", "0xfff")], "ARM part 0xfff"),
        ([("0x99", "0x001")], "implementer 0x99 part 0x001"),
    ],
)
def test_an_arm_processor_is_named_by_its_cores(cores, name, tmp_path):
    found, flags = name_and_flags(machine(tmp_path, arm(*cores)))
    assert found == name
    assert {"asimd", "asimddp", "i8mm"} <= flags


def test_machines_with_other_arm_cores_are_unlike(tmp_path):
    third = detect(machine(tmp_path / "c7g", arm(("0x41", "0xd40"))))
    fourth = detect(machine(tmp_path / "c8g", arm(("0x41", "0xd4f"))))
    assert third.instruction_sets == ("neon", "dotprod", "i8mm")
    assert unlike(third, fourth) == ["cpu_model ARM Neoverse-V1 against ARM Neoverse-V2"]


def test_an_x86_processor_says_its_name(tmp_path):
    text = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8488C\nflags\t\t: fpu avx2 avx512f"
    assert name_and_flags(machine(tmp_path, {"/proc/cpuinfo": text}))[0] == "Intel(R) Xeon(R) Platinum 8488C"


# The order of CPUs


def test_one_cpu_of_every_core_comes_first(tmp_path):
    assert numbers(machine(tmp_path / "neighbours", siblings((0, 1), (2, 3))), 4) == [0, 2, 1, 3]
    assert numbers(machine(tmp_path / "halves", siblings((0, 2), (1, 3))), 4) == [0, 1, 2, 3]


def test_cores_are_told_apart_by_their_numbers_where_siblings_are_not_listed(tmp_path):
    files = {}
    for number, (package, core) in enumerate([(0, 0), (0, 0), (1, 0), (1, 0)]):
        files[f"{CPU}/cpu{number}/topology/physical_package_id"] = str(package)
        files[f"{CPU}/cpu{number}/topology/core_id"] = str(core)
    assert numbers(machine(tmp_path, files), 4) == [0, 2, 1, 3]


def test_a_machine_that_tells_nothing_has_a_core_per_cpu():
    assert [(cpu.number, cpu.speed) for cpu in in_order(Linux(Path("/nowhere")), [3, 1])] == [(1, 1.0), (3, 1.0)]


def test_fast_arm_cores_come_first(tmp_path):
    capacities = {f"{CPU}/cpu{number}/cpu_capacity": text for number, text in enumerate(["250", "250", "1024", "870"])}
    made = machine(tmp_path, {**siblings((0,), (1,), (2,), (3,)), **capacities})
    assert numbers(made, 4) == [2, 3, 0, 1]
    assert [cpu.speed for cpu in in_order(made, range(4))] == [1.0, 0.8, 0.2, 0.2]


def test_performance_cores_of_a_hybrid_processor_come_first(tmp_path):
    kinds = {"/sys/devices/cpu_core/cpus": "2-5", "/sys/devices/cpu_atom/cpus": "0-1"}
    made = machine(tmp_path, {**siblings((0,), (1,), (2, 3), (4, 5)), **kinds})
    assert numbers(made, 6) == [2, 4, 0, 1, 3, 5]


def test_frequencies_tell_where_nothing_else_does_and_small_differences_do_not_count(tmp_path):
    frequencies = ["2400000", "5100000", "5000000", "2400000"]
    files = {f"{CPU}/cpu{number}/cpufreq/cpuinfo_max_freq": text for number, text in enumerate(frequencies)}
    assert numbers(machine(tmp_path, files), 4) == [1, 2, 0, 3]


def test_threads_default_to_physical_cores_and_are_named(tmp_path, allowed):
    allowed(4)
    found = detect(machine(tmp_path, siblings((0, 1), (2, 3))))
    assert (found.cores, found.physical_cores, found.cpus, found.threads) == (4, 2, (0, 2, 1, 3), 2)
    assert cpus_used(1, found) == "1 thread on CPU 0, one per physical core"
    assert cpus_used(2, found) == "2 threads on CPUs 0, 2, one per physical core"
    assert cpus_used(3, found) == (
        "3 threads on CPUs 0, 1, 2: these are 2 physical cores, so that some threads share one"
    )


def test_arms_are_pinned_to_one_cpu_per_core(tmp_path, allowed, monkeypatch):
    allowed(4)
    made = machine(tmp_path, siblings((0, 1), (2, 3)))
    monkeypatch.setattr(process, "usable_cpus", lambda: environment.usable_cpus(made))
    started = []
    monkeypatch.setattr(process.forks, "prepare", lambda runtime, cpus: started.append((runtime, cpus)))
    process.ArmProcess("pytorch", ArmSpec(runtime="pytorch", path="", sha256=""), 2).close()
    assert started == [("pytorch", [0, 2])]


def test_machines_whose_cpus_share_cores_are_unlike_those_whose_do_not(tmp_path, allowed):
    allowed(4)
    shared = detect(machine(tmp_path, siblings((0, 1), (2, 3))))
    alone = detect(machine(tmp_path / "other", siblings((0,), (1,), (2,), (3,))))
    assert unlike(shared, alone) == ["physical cores 2 against 4"]
    assert unlike(shared, alone.model_copy(update={"physical_cores": None})) == [], "an earlier version did not look"


# Limits of control groups


def test_no_groups_are_no_limits(tmp_path):
    assert cpu_limit(Linux(tmp_path)) is None
    assert memory_limit(Linux(tmp_path)) is None


@pytest.mark.parametrize(
    ("files", "cpus", "where"),
    [
        ({f"{GROUP}/cpu.max": "max 100000"}, None, None),
        ({f"{GROUP}/cpu.max": "150000 100000"}, 1.5, f"{GROUP}/cpu.max"),
        (
            {
                "/proc/self/cgroup": "0::/user.slice/run.scope",
                f"{GROUP}/user.slice/cpu.max": "200000 100000",
                f"{GROUP}/user.slice/run.scope/cpu.max": "max 100000",
            },
            2,
            f"{GROUP}/user.slice/cpu.max",
        ),
        (
            {
                "/proc/self/cgroup": "0::/a/b",
                f"{GROUP}/a/cpu.max": "400000 100000",
                f"{GROUP}/a/b/cpu.max": "100000 100000",
            },
            1,
            f"{GROUP}/a/b/cpu.max",
        ),
        (
            {
                "/proc/self/cgroup": "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/",
                f"{GROUP}/cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "300000",
                f"{GROUP}/cpu,cpuacct/docker/1f/cpu.cfs_period_us": "100000",
            },
            3,
            f"{GROUP}/cpu,cpuacct/docker/1f/cpu.cfs_quota_us",
        ),
        (
            {
                "/proc/self/cgroup": "5:cpu,cpuacct:/docker/of-the-host",
                f"{GROUP}/cpu/cpu.cfs_quota_us": "50000",
                f"{GROUP}/cpu/cpu.cfs_period_us": "100000",
            },
            0.5,
            f"{GROUP}/cpu/cpu.cfs_quota_us",
        ),
        (
            {
                "/proc/self/cgroup": "1:cpu:/",
                f"{GROUP}/cpu/cpu.cfs_quota_us": "-1",
                f"{GROUP}/cpu/cpu.cfs_period_us": "100000",
            },
            None,
            None,
        ),
        ({"/proc/self/cgroup": "0::/../other", f"{GROUP}/cpu.max": "100000 100000"}, 1, f"{GROUP}/cpu.max"),
    ],
)
def test_the_least_quota_counts_from_the_own_group_to_the_root(files, cpus, where, tmp_path):
    limit = cpu_limit(machine(tmp_path, files))
    assert (limit.value, limit.where) == (cpus, where) if cpus else limit is None


def test_a_quota_caps_cores_and_threads_and_is_named(tmp_path, allowed):
    allowed(4)
    found = detect(machine(tmp_path, {**siblings((0, 1), (2, 3)), f"{GROUP}/cpu.max": "150000 100000"}))
    assert (found.cores, found.threads) == (1, 1)
    assert found.limits == (f"1.5 CPUs by {GROUP}/cpu.max",)
    assert "num_threads is 2, but no more than 1" in threads_problem(2, found)
    assert f"1.5 CPUs by {GROUP}/cpu.max" in threads_problem(2, found)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({f"{GROUP}/memory.max": "1073741824"}, f"1.0 GiB of memory by {GROUP}/memory.max"),
        (
            {
                "/proc/self/cgroup": "0::/pod/container",
                f"{GROUP}/pod/memory.max": "536870912",
                f"{GROUP}/pod/container/memory.max": "1073741824",
            },
            f"0.5 GiB of memory by {GROUP}/pod/memory.max",
        ),
        (
            {
                "/proc/self/cgroup": "4:memory:/docker/1f",
                f"{GROUP}/memory/memory.limit_in_bytes": "9223372036854771712",
                f"{GROUP}/memory/docker/1f/memory.limit_in_bytes": "1073741824",
            },
            f"1.0 GiB of memory by {GROUP}/memory/docker/1f/memory.limit_in_bytes",
        ),
        ({"/proc/self/cgroup": "4:memory:/", f"{GROUP}/memory/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
)
def test_memory_is_what_control_groups_leave(files, limit, tmp_path):
    found = detect(machine(tmp_path, files))
    assert found.limits == ((limit,) if limit else ())
    assert (found.memory_bytes <= 2**30) == bool(limit)


# Threads


def test_more_threads_than_cpus_are_a_problem():
    found = detect()
    assert threads_problem(None, found) is None
    assert threads_problem(found.cores, found) is None
    assert f"no more than {found.cores} can run" in threads_problem(found.cores + 1, found)

"""What ``env --check`` says of machines, made up of their /proc and /sys."""

from tests.support.machines import machine, siblings

from quantbench.pipeline.machine_check import (
    cpu_limit,
    governor,
    hyper_threads,
    kinds,
    memory_limit,
    omp_threads,
    turbo,
)
from quantbench.system.processors import CPU, in_order

GROUP = "/sys/fs/cgroup"


def test_hyper_threads_need_no_advice_where_arms_have_a_core_each(tmp_path):
    found = hyper_threads(in_order(machine(tmp_path, siblings((0, 1), (2, 3))), range(4)))
    assert found.value.startswith("4 usable CPUs on 2 cores; timed with one thread per core")
    assert not found.advice
    assert hyper_threads(in_order(machine(tmp_path / "b", siblings((0,), (1,))), range(2))).value.startswith("none")


def test_slow_cores_are_named_with_the_number_of_fast_ones(tmp_path):
    files = {f"{CPU}/cpu{number}/cpu_capacity": str(value) for number, value in enumerate([300, 300, 1024, 1024, 1024])}
    found = kinds(in_order(machine(tmp_path, files), range(5)))
    assert found.value == "3 fast, 2 slower"
    assert "num_threads: 3" in found.advice
    assert not kinds(in_order(machine(tmp_path / "alike", {}), range(5))).advice


def test_limits_name_the_file_that_sets_them(tmp_path):
    files = {f"{GROUP}/cpu.max": "150000 100000", f"{GROUP}/memory.max": str(2**29)}
    made = machine(tmp_path, files)
    assert cpu_limit(made, 4).value == f"1.5 CPUs by {GROUP}/cpu.max"
    assert cpu_limit(made, 4).advice
    assert not cpu_limit(made, 1).advice, "a quota over the CPUs of the affinity stops nothing"
    assert memory_limit(made).value == f"0.5 GiB by {GROUP}/memory.max"
    nothing = machine(tmp_path / "free", {})
    assert (cpu_limit(nothing, 4).value, memory_limit(nothing).value) == ("none", "none")


def test_governor_and_turbo(tmp_path):
    files = {f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave", f"{CPU}/intel_pstate/no_turbo": "0"}
    made = machine(tmp_path, files)
    assert "performance" in governor(made).advice
    assert turbo(made).value == "on"


def test_threads_that_platforms_set_are_said_not_to_count(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (omp_threads().value, "not obeyed here" in omp_threads().advice) == ("1", True)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert not omp_threads().advice

"""Machines that people measure on, made up of their /proc and /sys, and settings that they cannot have."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cases.basics import _topics
from tests.cases.case import Answer, Case, Refused, case
from tests.support.machines import arm, machine, siblings

from quantbench.config.load import build_config
from quantbench.config.plan import make_plan
from quantbench.quantize.number_types import resolve
from quantbench.system.control_groups import cpu_limit, memory_limit
from quantbench.system.processors import CPU, in_order, name_and_flags

GROUP = "/sys/fs/cgroup"
BASE = {
    "task": "text-classification",
    "model_name_or_path": "m",
    "dataset": {"path": "d", "calibration_split": "train"},
}


@case("more threads than CPUs", "the CPUs that sched_getaffinity lists")
def too_many_threads(folder: Path) -> Case:
    """64 threads on a small machine would all run on what there is."""
    threads = len(os.sched_getaffinity(0)) + 62
    says = (f"num_threads is {threads}", "can run here at the same time")
    settings = {**_topics(folder), "time_benchmark_args": {"num_threads": threads}}
    return Case(settings, Refused("time_benchmark_args.num_threads", says))


@case("two threads where neighbouring CPUs share a core", "thread_siblings_list (Linux, cputopology)")
def neighbours(folder: Path) -> Answer:
    """Numbered 0-1, 2-3: usual on virtual machines of Azure and GCP."""
    order = in_order(machine(folder, siblings((0, 1), (2, 3))), range(4))
    return Answer([cpu.number for cpu in order[:2]], [0, 2], "CPUs 0 and 2, one of each core")


@case("four threads on a processor with fast and slow cores", "/sys/devices/cpu_core (Linux, hybrid Intel)")
def hybrid(folder: Path) -> Answer:
    """Two slow cores are numbered first; the fast ones have two threads each."""
    kinds = {"/sys/devices/cpu_core/cpus": "2-5", "/sys/devices/cpu_atom/cpus": "0-1"}
    order = in_order(machine(folder, {**siblings((0,), (1,), (2, 3), (4, 5)), **kinds}), range(6))
    told = "CPUs 2 and 4, one of each fast core, then 0 and 1, the slow ones"
    return Answer([cpu.number for cpu in order[:4]], [2, 4, 0, 1], told)


@case("big and little Arm cores", "cpu_capacity (Linux, arm/cpus binding)")
def little(folder: Path) -> Answer:
    """The little ones are numbered first."""
    files = {f"{CPU}/cpu{number}/cpu_capacity": str(value) for number, value in enumerate((250, 250, 1024, 1024))}
    order = in_order(machine(folder, files), range(4))
    return Answer([cpu.number for cpu in order[:2]], [2, 3], "CPUs 2 and 3, the big ones, come first")


@case("Graviton 3 and Graviton 4", "lscpu of util-linux on c7g and c8g")
def gravitons(folder: Path) -> Answer:
    """/proc/cpuinfo has no model name there."""
    kinds = [("third", "0xd40"), ("fourth", "0xd4f")]
    got = [name_and_flags(machine(folder / name, arm(("0x41", part))))[0] for name, part in kinds]
    return Answer(got, ["ARM Neoverse-V1", "ARM Neoverse-V2"], f"called {' and '.join(got)}")


@case("a CPU quota of the slice above", "Control Group v2: limits hold for all below")
def quota_above(folder: Path) -> Answer:
    """As systemd-run --scope with the quota at the slice."""
    files = {
        "/proc/self/cgroup": "0::/user.slice/run.scope",
        f"{GROUP}/user.slice/cpu.max": "200000 100000",
        f"{GROUP}/user.slice/run.scope/cpu.max": "max 100000",
    }
    limit = cpu_limit(machine(folder, files))
    assert limit is not None
    told = f"{limit.value:g} CPUs, found in {limit.where}"
    return Answer((limit.value, limit.where), (2, f"{GROUP}/user.slice/cpu.max"), told)


@case("a container with memory limited by version 1 of control groups", "docker run --memory 4g")
def memory_of_a_container(folder: Path) -> Answer:
    """The group's name is the host's, its files lie at the mount."""
    files = {
        "/proc/self/cgroup": "4:memory:/docker/1f2e",
        f"{GROUP}/memory/memory.limit_in_bytes": str(4 * 2**30),
    }
    limit = memory_limit(machine(folder, files))
    assert limit is not None
    told = f"{limit.value / 2**30:g} GiB, found in {limit.where}"
    return Answer((limit.value, limit.where), (4 * 2**30, f"{GROUP}/memory/memory.limit_in_bytes"), told)


@case("8-bit types of mixed and of unsigned weights on Arm", "ONNX Runtime, data type selection: no S8U8 kernels")
def types_on_arm(folder: Path) -> Answer:
    """DynamicQuantizeLinear and own placement write unsigned activations everywhere."""
    wanted = ({"quantization_approach": "mixed"}, {"quantization_approach": "static", "weight_type": "uint8"})
    found = [resolve(build_config({**BASE, **changes}, {}, "").base, ("neon", "dotprod")) for changes in wanted]
    got = [" and ".join(pair) for pair in found]
    told = f"activations and weights: {got[0]} (mixed), {got[1]} (static, weight_type: uint8)"
    return Answer(got, ["uint8 and int8", "uint8 and uint8"], told)


@case("none and dynamic, each with per_channel false and true", "the float export has no channels to scale")
def float_once(folder: Path) -> Answer:
    """Three models, not four."""
    grid = {"quantization_approach": ["none", "dynamic"], "per_channel": [False, True]}
    plan = make_plan(build_config({**BASE, "benchmarked": grid}, {}, ""))
    names = ("none__per_channel-false", "dynamic__per_channel-false", "dynamic__per_channel-true")
    got = [run.name for run in plan.runs]
    told = f"{len(got)} runs: none once, dynamic with both"
    return Answer(got, [f"quantization_approach-{name}" for name in names], told)


@case("a product named by a node with dots", "placement.matmuls, by the name that the exporter gives")
def node_with_dots(folder: Path) -> Answer:
    """As a key under benchmarked, and so in --set."""
    node = "/bert/encoder/layer.0/attention/self/query/MatMul"
    data = {**BASE, "quantization_approach": "mixed", "benchmarked": {f"placement.matmuls.{node}": ["float", "static"]}}
    runs = make_plan(build_config(data, {}, "")).runs
    assert all(list(run.settings.placement.matmuls) == [node] for run in runs)
    got = [run.settings.placement.matmuls[node] for run in runs]
    return Answer(got, ["float", "static"], f"two runs, in which {node} is {' and '.join(got)}")

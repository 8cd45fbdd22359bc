"""What this machine is: CPU, instruction sets, usable cores, library versions."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from quantbench import __version__
from quantbench.records import Environment, Result

INSTRUCTION_SETS = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "neon": "asimd",
    "dotprod": "asimddp",
    "i8mm": "i8mm",
}
"""quantbench's name of an instruction set, and the flag of ``/proc/cpuinfo`` that stands for it."""

IDENTITY = ("cpu_model", "instruction_sets", "cap", "cores", "versions")
"""What two environments must share for their results to be compared."""

LIBRARIES = ("torch", "transformers", "datasets", "tokenizers", "onnx", "onnxruntime", "numpy", "openvino", "nncf")
"""Libraries whose versions are recorded where they are installed."""


def detect() -> Environment:
    """The environment as it is now."""
    cpu_model, flags = _cpu()
    return Environment(
        cpu_model=cpu_model,
        architecture=platform.machine(),
        instruction_sets=tuple(name for name, flag in INSTRUCTION_SETS.items() if flag in flags),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        versions={"quantbench": __version__, "python": platform.python_version(), **_versions()},
        load=os.getloadavg(),
        host=platform.node(),
    )


def unlike(first: Environment, second: Environment) -> list[str]:
    """What keeps two environments from being compared, one text each."""
    found = []
    for key in IDENTITY:
        one, other = getattr(first, key), getattr(second, key)
        if key == "versions":
            names = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
            found += [f"{name} {one.get(name, 'none')} against {other.get(name, 'none')}" for name in names]
        elif one != other:
            found.append(f"{key} {one} against {other}")
    return found


def by_machine(results: Iterable[Result]) -> list[list[Result]]:
    """Results in groups of alike environments, in order; only those of one group are ever compared."""
    groups: list[list[Result]] = []
    for result in results:
        alike = (group for group in groups if not unlike(group[0].environment, result.environment))
        group = next(alike, None)
        if group is None:
            groups.append([result])
        else:
            group.append(result)
    return groups


def usable_cores() -> int:
    """Cores that this process may use: its CPU affinity, capped by the control group's CPU quota."""
    cores = len(usable_cpus())
    quota = _cgroup_quota(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(cores, math.floor(quota))) if quota else cores


def usable_cpus() -> list[int]:
    """Numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cgroup_quota(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _cpu() -> tuple[str, set[str]]:
    """CPU model and flags; other systems than Linux name the CPU and leave the flags empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    pairs = (line.partition(":") for line in reversed(lines))
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    flags = fields.get("flags") or fields.get("Features") or ""
    return fields.get("model name") or platform.machine(), set(flags.split())


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found

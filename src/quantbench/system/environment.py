"""What this machine is: CPU, instruction sets, usable cores, library versions."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Collection, Iterable

from quantbench import discovery
from quantbench.schema.results import Environment
from quantbench.schema.version import __version__
from quantbench.system import allocator, control_groups, priority
from quantbench.system.linux import HERE, Linux, allowed_cpus
from quantbench.system.processors import Cpu, in_order, name_and_flags

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


LIBRARIES = ("torch", "transformers", "datasets", "tokenizers", "onnx", "numpy")
"""Libraries of all benchmarks; those of plug-ins that compute are recorded after them, where they are installed."""


def detect(machine: Linux = HERE) -> Environment:
    """The environment as it is now."""
    cpu_model, flags = name_and_flags(machine)
    cpus = usable_cpus(machine)
    cores = usable_cores(machine)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = control_groups.memory_limit(machine)
    return Environment(
        cpu_model=cpu_model,
        architecture=platform.machine(),
        instruction_sets=tuple(name for name, flag in INSTRUCTION_SETS.items() if flag in flags),
        cores=cores,
        physical_cores=min(len({cpu.core for cpu in cpus}), cores),
        cpus=tuple(cpu.number for cpu in cpus),
        memory_bytes=min(physical, int(limit.value)) if limit else physical,
        limits=tuple(_limits(machine, cpus, physical)),
        system=f"{platform.system()} {platform.release()}",
        versions={"quantbench": __version__, "python": platform.python_version(), **_versions()},
        load=os.getloadavg(),
        host=platform.node(),
        priority=priority.of_timed(),
        allocator=allocator.of_timed(),
    )


def _limits(machine: Linux, cpus: Collection[Cpu], physical: int) -> Iterable[str]:
    """What keeps this process from all of the machine, and what sets it."""
    quota, memory = control_groups.cpu_limit(machine), control_groups.memory_limit(machine)
    if quota and quota.value < len(cpus):
        yield f"{quota.value:g} CPUs by {quota.where}"
    if memory and memory.value < physical:
        yield f"{memory.value / 2**30:.1f} GiB of memory by {memory.where}"


def threads_problem(threads: int | None, environment: Environment) -> str | None:
    """A message if there are more threads than CPUs that they could run on at the same time."""
    if threads is None or threads <= environment.cores:
        return None
    why = f" ({'; '.join(environment.limits)})" if environment.limits else ""
    return (
        f"num_threads is {threads}, but no more than {environment.cores} can run here at the same time{why}; "
        f"lower it, or leave it out for one per physical core, which makes {environment.threads}"
    )


def cpus_used(threads: int, environment: Environment) -> str:
    """The CPUs that arms with so many threads are pinned to, in words; empty where that is not known."""
    used = sorted(environment.cpus[:threads])
    if not used or environment.physical_cores is None:
        return ""
    text = f"{threads} thread{'s' * (threads > 1)} on CPU{'s' * (len(used) > 1)} {', '.join(map(str, used))}"
    if threads > environment.physical_cores:
        return f"{text}: these are {environment.physical_cores} physical cores, so that some threads share one"
    return f"{text}, one per physical core"


def usable_cores(machine: Linux = HERE) -> int:
    """CPUs that this process may use at the same time: those of its affinity, capped by the least CPU quota."""
    cores, limit = len(allowed_cpus()), control_groups.cpu_limit(machine)
    return max(1, min(cores, math.floor(limit.value))) if limit else cores


def usable_cpus(machine: Linux = HERE) -> list[Cpu]:
    """The CPUs that this process may run on, in the order in which threads are given to them."""
    return in_order(machine, allowed_cpus())


def _versions() -> dict[str, str]:
    wanted = dict.fromkeys((*LIBRARIES, *discovery.libraries()))
    found = {library: discovery.version_of(library) for library in wanted}
    return {library: version for library, version in found.items() if version is not None}

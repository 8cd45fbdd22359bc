"""Which processor this is, and in which order its CPUs are used: what is on a core, and which cores are fast."""

from __future__ import annotations

import platform
from collections.abc import Collection
from dataclasses import dataclass

from quantbench.system.linux import Linux

CPU = "/sys/devices/system/cpu"
ARM_PARTS = {
    "0x41": {
        "0xd03": "Cortex-A53",
        "0xd04": "Cortex-A35",
        "0xd05": "Cortex-A55",
        "0xd07": "Cortex-A57",
        "0xd08": "Cortex-A72",
        "0xd09": "Cortex-A73",
        "0xd0a": "Cortex-A75",
        "0xd0b": "Cortex-A76",
        "0xd0c": "Neoverse-N1",
        "0xd0d": "Cortex-A77",
        "0xd40": "Neoverse-V1",
        "0xd41": "Cortex-A78",
        "0xd42": "Cortex-A78AE",
        "0xd44": "Cortex-X1",
        "0xd46": "Cortex-A510",
        "0xd47": "Cortex-A710",
        "0xd48": "Cortex-X2",
        "0xd49": "Neoverse-N2",
        "0xd4a": "Neoverse-E1",
        "0xd4b": "Cortex-A78C",
        "0xd4c": "Cortex-X1C",
        "0xd4d": "Cortex-A715",
        "0xd4e": "Cortex-X3",
        "0xd4f": "Neoverse-V2",
        "0xd80": "Cortex-A520",
        "0xd81": "Cortex-A720",
        "0xd82": "Cortex-X4",
        "0xd83": "Neoverse-V3AE",
        "0xd84": "Neoverse-V3",
        "0xd85": "Cortex-X925",
        "0xd87": "Cortex-A725",
        "0xd8e": "Neoverse-N3",
    },
    "0x46": {"0x001": "A64FX"},
    "0x48": {"0xd01": "Kunpeng-920"},
    "0x61": {
        "0x022": "Icestorm-M1",
        "0x023": "Firestorm-M1",
        "0x024": "Icestorm-M1-Pro",
        "0x025": "Firestorm-M1-Pro",
        "0x028": "Icestorm-M1-Max",
        "0x029": "Firestorm-M1-Max",
        "0x032": "Blizzard-M2",
        "0x033": "Avalanche-M2",
    },
    "0xc0": {"0xac3": "Ampere-1", "0xac4": "Ampere-1a"},
}
"""Cores by implementer and part, the numbers of Arm's Main ID Register; names as ``lscpu`` prints them."""
VENDORS = {"0x41": "ARM", "0x46": "FUJITSU", "0x48": "HiSilicon", "0x61": "Apple", "0xc0": "Ampere"}


@dataclass(frozen=True)
class Cpu:
    """One CPU that threads run on: its number, the core that it is on, and how fast that is beside the fastest (1)."""

    number: int
    core: str
    speed: float


def name_and_flags(machine: Linux) -> tuple[str, set[str]]:
    """CPU model and flags of ``/proc/cpuinfo``; 64-bit Arm names no model, only who made the cores and which."""
    fields: dict[str, str] = {}
    cores: dict[tuple[str, str], None] = {}
    for line in (machine.read("/proc/cpuinfo") or "").splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        fields.setdefault(name, value)
        if name == "CPU implementer":
            implementer = value.lower()
        if name == "CPU part":
            cores[implementer, value.lower()] = None
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    if cores:
        return " + ".join(_arm_core(*core) for core in sorted(cores)), flags
    return fields.get("model name") or platform.machine(), flags


def _arm_core(implementer: str, part: str) -> str:
    known = ARM_PARTS.get(implementer, {}).get(part)
    if known is None:
        return f"{VENDORS.get(implementer, f'implementer {implementer}')} part {part}"
    return f"{VENDORS[implementer]} {known}"


def in_order(machine: Linux, allowed: Collection[int]) -> list[Cpu]:
    """The allowed CPUs in the order in which threads are given to them.

    One of each physical core comes first, then the second thread of each core; among these the fastest cores first.
    """
    cores = {number: _core(machine, number) for number in allowed}
    speeds = _speeds(machine, allowed)
    seen: dict[str, int] = {}
    ranked = []
    for number in sorted(allowed):
        rank = seen[cores[number]] = seen.get(cores[number], -1) + 1
        ranked.append((rank, -speeds[number], number))
    return [Cpu(number, cores[number], speeds[number]) for _, _, number in sorted(ranked)]


def _core(machine: Linux, number: int) -> str:
    """What tells a CPU's physical core: the CPUs on it, or else its numbers of package and core."""
    folder = f"{CPU}/cpu{number}/topology"
    siblings = machine.cpus(f"{folder}/thread_siblings_list")
    if siblings:
        return ",".join(map(str, siblings))
    package, core = machine.number(f"{folder}/physical_package_id"), machine.number(f"{folder}/core_id")
    return f"cpu {number}" if core is None else f"package {package} core {core}"


def _speeds(machine: Linux, allowed: Collection[int]) -> dict[int, float]:
    """Speed of each CPU beside the fastest, in tenths; 1 where the system tells no difference.

    Told by Arm's ``cpu_capacity``, by the kinds of hybrid Intel processors, or by the highest frequency. The tenths
    keep cores of a kind together whose frequencies differ a little.
    """
    capacities = {number: machine.number(f"{CPU}/cpu{number}/cpu_capacity") for number in allowed}
    efficient = set(machine.cpus("/sys/devices/cpu_atom/cpus") or ())
    if efficient and not all(capacities.values()):
        capacities = {number: 1 if number in efficient else 2 for number in allowed}
    if not all(capacities.values()):
        capacities = {number: machine.number(f"{CPU}/cpu{number}/cpufreq/cpuinfo_max_freq") for number in allowed}
    if not all(capacities.values()):
        return dict.fromkeys(allowed, 1.0)
    told = {number: float(value or 0) for number, value in capacities.items()}
    return {number: round(value / max(told.values()), 1) for number, value in told.items()}

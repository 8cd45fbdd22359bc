"""What control groups leave of the machine: CPU quota and memory.

The least limit counts, from the process's own group (``/proc/self/cgroup``) up to the root, of version 2 and of
version 1 (Linux, "Control Group v2" and "CFS Bandwidth Control"). Groups that are not below the mount are passed over,
as in containers that see the names of their host: their own group is the mount itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from quantbench.system.linux import Linux

MOUNT = "/sys/fs/cgroup"
UNIFIED = ("", "unified")
"""Where version 2 is mounted below ``MOUNT``: alone, or beside version 1."""


@dataclass(frozen=True)
class Limit:
    """A limit, in CPUs or bytes, and the file that sets it."""

    value: float
    where: str


def cpu_limit(machine: Linux) -> Limit | None:
    """CPUs whose time the process may use, or None where there is no quota."""
    found = [_quota(machine, folder) for folder in _groups(machine, "")]
    found += [_quota_v1(machine, folder) for folder in _groups(machine, "cpu")]
    return _least(found)


def memory_limit(machine: Linux) -> Limit | None:
    """Bytes that the process may use, or None where only the machine's memory is the limit."""
    found = [_bytes(machine, f"{folder}/memory.max") for folder in _groups(machine, "")]
    found += [_bytes(machine, f"{folder}/memory.limit_in_bytes") for folder in _groups(machine, "memory")]
    return _least(found)


def _least(found: list[Limit | None]) -> Limit | None:
    return min((limit for limit in found if limit is not None), key=lambda limit: limit.value, default=None)


def _groups(machine: Linux, controller: str) -> Iterator[str]:
    """Folders of the process's group and of those above it, nearest first; ``controller`` is empty for version 2."""
    for line in (machine.read("/proc/self/cgroup") or "0::/").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller not in controllers.split(","):
            continue
        group = PurePosixPath("/") if ".." in path else PurePosixPath(path or "/")
        mounts = dict.fromkeys((controllers, controller) if controller else UNIFIED)
        for folder in (group, *group.parents):
            for mount in mounts:
                yield f"{PurePosixPath(MOUNT, mount, *folder.parts[1:])}"


def _quota(machine: Linux, folder: str) -> Limit | None:
    where = f"{folder}/cpu.max"
    quota, _, period = (machine.read(where) or "").partition(" ")
    return Limit(int(quota) / int(period), where) if quota.isdecimal() and period.isdecimal() else None


def _quota_v1(machine: Linux, folder: str) -> Limit | None:
    where = f"{folder}/cpu.cfs_quota_us"
    quota, period = machine.number(where), machine.number(f"{folder}/cpu.cfs_period_us")
    return Limit(quota / period, where) if quota and period and quota > 0 else None


def _bytes(machine: Linux, where: str) -> Limit | None:
    """A limit of memory; version 1 writes a number beyond all memory where there is none."""
    value = machine.number(where)
    return Limit(value, where) if value is not None else None

"""Whether memory and disk hold the least that a model's runs need, so that what cannot end well does not begin.

Only what nothing can do with less is counted: what is refused has no way to fit, what is not may still fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import disk_usage

PROCESS_BYTES = 300_000_000
"""Memory of a timed process besides its model: the interpreter and the libraries."""
FLOAT_PROCESSES = 3
"""Processes that time the float model: the original, the original again, and the float export."""
FLOAT_BYTES = 4
INT8_SHARE = 4
"""A float model is at most so many times as large as its int8 version."""
EXPORT_COPIES = 2
"""Of the float weights in memory while a model is exported: PyTorch's, and those that are written."""


def to_load(weights: int, memory: int) -> str | None:
    """Why a checkpoint of so many numbers cannot be loaded with so many bytes of memory; None where it may."""
    size = FLOAT_BYTES * weights
    return f"{_has(weights)}; {_lacks(size, memory)}" if size > memory else None


def to_work(weights: int, timed: bool, memory: int) -> tuple[str, str] | None:
    """Why a model cannot be benchmarked with so much memory, as (dotted key, message); None where it may fit.

    Args:
        weights: how many numbers its checkpoint holds.
        timed: whether runs are timed, in a process for each arm and one more for the original.
        memory: bytes.

    """
    size = FLOAT_BYTES * weights
    if EXPORT_COPIES * size > memory:
        return "model_name_or_path", f"{_has(weights)}; its export {_lacks(EXPORT_COPIES * size, memory)}"
    processes = FLOAT_PROCESSES + 1
    timing = FLOAT_PROCESSES * size + size // INT8_SHARE + processes * PROCESS_BYTES
    if timed and timing > memory:
        needs = f"needs at least {_told(timing)} of memory for {processes} processes at once"
        message = f"{_has(weights)}; timing {needs}, there is {_told(memory)}; batch_sizes: [] leaves timing out"
        return "batch_sizes", message
    return None


def _has(weights: int) -> str:
    return f"it has {weights / 1e6:,.0f} million weights, {_told(FLOAT_BYTES * weights)} in float32"


def _lacks(needed: int, memory: int) -> str:
    lacks = f"needs at least {_told(needed)} of memory, there is {_told(memory)}"
    return f"{lacks}; use a larger machine or a smaller model"


def of_disk(weights: int, written: Sequence[tuple[Path, str]]) -> tuple[str, str] | None:
    """Why an export cannot be written, as (dotted key, message); None where it may fit.

    Args:
        weights: how many numbers the checkpoint holds.
        written: folders that each hold the float model once, at the same time, and how to name others.

    """
    size = FLOAT_BYTES * weights
    found: dict[int, list[tuple[Path, str]]] = {}
    for folder, remedy in written:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        found.setdefault(there.stat().st_dev, []).append((there, remedy))
    return next((problem for group in found.values() if (problem := _full(size, group))), None)


def _full(size: int, group: Sequence[tuple[Path, str]]) -> tuple[str, str] | None:
    needed, free = size * len(group), disk_usage(group[0][0]).free
    if needed <= free:
        return None
    where = " and ".join(str(folder) for folder, _ in group)
    remedies = " or ".join(remedy for _, remedy in group)
    needs = f"its export needs at least {_told(needed)} on the disk of {where}, of which {_told(free)} is free"
    return "model_name_or_path", f"{needs}; free some, or name another folder in {remedies}"


def _told(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.1f} MiB"

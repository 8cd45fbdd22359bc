"""Runs that are ready to be timed, and how many of them a machine's memory holds at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quantbench.analysis.speedups import BASELINE
from quantbench.pipeline.load import Loaded
from quantbench.pipeline.room import PROCESS_BYTES
from quantbench.schema.results import ArmSpec, Artifact, Run, Scores

ARMS = (BASELINE, "onnx-float", "optimized")


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to be timed: its arms by name, and everything about it that is already known."""

    run: Run
    loaded: Loaded
    arms: dict[str, ArmSpec]
    artifact: Artifact
    float_artifact: dict[str, Any]
    scores: dict[str, Scores]
    evaluations: int
    seconds: dict[str, float]
    sources: dict[str, str]
    notes: tuple[str, ...]


def null_name(original: str) -> str:
    """Name of the second process of an original."""
    return f"{original}, again"


def fitting(group: Sequence[Prepared], memory_bytes: int) -> Iterator[list[Prepared]]:
    """Split runs only where all their processes at once would not fit into half of the memory."""
    together: list[Prepared] = []
    processes: dict[str, int] = {}
    for prepared in group:
        own = _process_bytes(prepared, copies=2)
        if together and sum({**processes, **own}.values()) > memory_bytes // 2:
            yield together
            together, processes = [], {}
        together.append(prepared)
        processes.update(own)
    if together:
        yield together


def too_large(prepared: Prepared, memory_bytes: int) -> str | None:
    """Why a run cannot be timed even alone: its processes need more than the memory; None where they may fit.

    Every model is counted once, so that what is refused has no way to fit.
    """
    processes = _process_bytes(prepared, copies=1)
    least = sum(processes.values())
    if least <= memory_bytes:
        return None
    gibibytes = [f"{value / 2**30:.1f} GiB" for value in (least, memory_bytes)]
    return (
        f"timing needs at least {gibibytes[0]} of memory for {len(processes)} processes at once, there is "
        f"{gibibytes[1]}; batch_sizes: [] leaves timing out"
    )


def _process_bytes(prepared: Prepared, copies: int) -> dict[str, int]:
    """Memory of every process that times a run, by its arm; the original, which has two, is as large as its export.

    A runtime holds two copies of a model while it loads it: as it was read and as it computes.
    """
    exported = int(prepared.float_artifact["bytes"])
    sizes = {**dict.fromkeys(ARMS, exported), "optimized": prepared.artifact.bytes}
    found = {spec.fingerprint: PROCESS_BYTES + copies * sizes[name] for name, spec in prepared.arms.items()}
    original = prepared.arms[BASELINE].fingerprint
    return {**found, null_name(original): found[original]}

"""Several models against a first one, in the same rounds, with what the machine's cache knows of the first's noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantbench.analysis.speedups import BASELINE, NULL
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmSpec, Environment, Latency
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.system import cache
from quantbench.timing import self_comparison, session
from quantbench.timing.looks import Watch
from quantbench.timing.session import Shape


@dataclass(frozen=True)
class Several:
    """Raw samples by shape, none where nothing is left to compare, and the reason of every arm that has none."""

    latencies: list[Latency]
    failures: dict[str, str]


def time_against(
    first: ArmSpec,
    others: Mapping[str, ArmSpec],
    shapes: Sequence[Shape],
    args: TimeBenchmarkArgs,
    machine: Environment,
    folder: Path,
    told: Reporter,
    what: str,
) -> Several:
    """Time a model, the same once more as null arm, and others; the machine is held all the while.

    Args:
        first: the arm ``pytorch``, whatever runs it.
        others: arms by name.
        shapes: with their inputs.
        args: how long and how.
        machine: where.
        folder: of the machine's cache.
        told: of the work.
        what: the work is called.

    """
    arms = {BASELINE: first, **others, NULL: first}
    threads = args.num_threads or machine.threads
    paths = self_comparison.paths(first, shapes, args, threads, machine, folder)
    with cache.alone(folder, told):
        total = int(len(arms) * args.duration * len(shapes))
        with told.stage(f"{what} at {len(shapes)} shape(s), seconds", total) as advance:
            timings = session.time_arms(arms, BASELINE, shapes, args, threads, advance, watch=Watch(advance.tell))
        if {BASELINE, NULL} & timings.failures.keys() or others.keys() <= timings.failures.keys():
            return Several([], timings.failures)
        spent = sum(arm.seconds for shape in timings.shapes for arm in shape.arms.values())
        shorter = args.model_copy(update={"duration": min(args.duration, spent / len(shapes) / 2)})
        took = max(max(shape.arms[BASELINE].load_seconds) for shape in timings.shapes)
        noise = self_comparison.between_launches(first, shapes, shorter, threads, paths, told, took)
    latencies = [
        Latency(
            batch_size=shape.batch_size,
            input_length=shape.input_length,
            arms=measured.arms,
            slot_seconds=measured.slot_seconds,
            extended=measured.extended,
            noise=self_comparison.remember(known, measured.arms[BASELINE], shape.mixed, args, path),
        )
        for shape, measured, known, path in zip(shapes, timings.shapes, noise, paths, strict=True)
    ]
    return Several(latencies, timings.failures)

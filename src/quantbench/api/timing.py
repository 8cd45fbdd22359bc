"""ONNX files of any origin timed against each other, in interleaved slots, with intervals and a noise floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from quantbench.analysis import speedups
from quantbench.analysis.intervals import Interval
from quantbench.analysis.speedups import BASELINE, NULL, Speedup, shape_name
from quantbench.analysis.undisturbed import undisturbed_ms
from quantbench.api import drawn, frames
from quantbench.api._reporters import reporter
from quantbench.config.yaml_lines import wrong_value
from quantbench.errors import ArmFailed, BadInput, Mistake
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmSpec, Environment, Latency
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.system import cache, environment
from quantbench.system.files import file_sha256

if TYPE_CHECKING:
    import pandas

    from quantbench.timing.session import Shape

LEVEL = 99
"""Optimization level of the sessions, ONNX Runtime's default: all."""
COLUMNS = (
    *("model", "batch_size", "input_length", "mean_ms", "p50_ms", "undisturbed_ms"),
    *("speedup", "speedup_low", "speedup_high", "verdict", "noise_floor"),
)


@dataclass(frozen=True)
class Timing:
    """How long calls of several models take; a notebook shows a table.

    Attributes:
        names: of the models. The first is the one that the others are compared with.
        latencies: raw samples by shape. Its arms are ``pytorch`` for the first model, ``null`` for the same once more
            in another process, whose distance from the first is noise, and the numbers of the others, from 1.
        environment: the machine.
        precision: the half width that intervals were measured to, for twice the duration at most.

    """

    names: tuple[str, ...]
    latencies: tuple[Latency, ...]
    environment: Environment
    precision: float

    @cached_property
    def _judged(self) -> list[tuple[str, Latency, Speedup]]:
        rows = [(name, latency, arm) for latency in self.latencies for name, arm in self._arms[1:]]
        timed = [speedups.Timed(latency, arm, BASELINE, self.precision) for _, latency, arm in rows]
        return [(row[0], row[1], speedup) for row, speedup in zip(rows, speedups.judged(timed), strict=True)]

    @property
    def _arms(self) -> list[tuple[str, str]]:
        """Names of the models and of their arms."""
        return list(zip(self.names, _arm_names(len(self.names)), strict=True))

    def speedups(self) -> dict[str, dict[str, Speedup]]:
        """How many times as fast as the first model the others are: by shape (``1 × 128``), then by model.

        Above 1 is faster. ``interval`` has the 95 % interval, None with too few slots; ``verdict`` is ``faster``,
        ``slower`` or ``inconclusive``, over all models and shapes together (Holm).
        """
        found: dict[str, dict[str, Speedup]] = {shape_name(latency): {} for latency in self.latencies}
        for name, latency, speedup in self._judged:
            found[shape_name(latency)][name] = speedup
        return found

    def to_dataframe(self, rows: Literal["models", "calls"] = "models") -> pandas.DataFrame:
        """The figures as a table.

        Args:
            rows: ``models``, a row per model × shape: milliseconds of a call (mean, median, and the median where the
                machine held nothing up), the speedup over the first model with its 95 % interval and verdict, and the
                noise floor that it must exceed. ``calls``, a row per timed call.

        Raises:
            BadInput: if there are no such rows, or pandas is not installed.

        """
        if rows == "models":
            return frames.frame(self._rows(), COLUMNS)
        if rows == "calls":
            named = {arm: name for name, arm in self._arms} | {NULL: f"{self.names[0]}, again"}
            found = [call for latency in self.latencies for call in frames.calls_at(latency)]
            return frames.frame([{**call, "arm": named[call["arm"]]} for call in found])
        raise BadInput([Mistake(f"to_dataframe({rows!r})", "there is 'models' and 'calls'")])

    def _rows(self) -> list[dict[str, Any]]:
        judged = {(name, id(latency)): speedup for name, latency, speedup in self._judged}
        found = []
        for latency in self.latencies:
            for name, arm in self._arms:
                samples, speedup = latency.arms[arm], judged.get((name, id(latency)))
                times = (
                    speedups.mean_ms(samples),
                    speedups.percentile_ms(samples, 50),
                    undisturbed_ms(samples, latency.mixed),
                )
                interval = speedup.interval if speedup else None
                values = (name, latency.batch_size, latency.input_length, *times, speedup and speedup.ratio)
                ends = (interval.low, interval.high) if interval else (None, None)
                more = (*ends, speedup and speedup.verdict, speedups.noise_floor(latency))
                found.append(dict(zip(COLUMNS, (*values, *more), strict=True)))
        return found

    def _repr_markdown_(self) -> str:
        from quantbench.reports._markdown import table

        return table(["model", "shape", "mean, ms", f"over {self.names[0]}", "verdict", "noise floor"], self._cells())

    def _cells(self) -> list[list[str]]:
        from quantbench.reports._markdown import spread

        cells = []
        for row in self._rows():
            ratio = "–" if row["speedup"] is None else "too few slots"
            if row["speedup_low"] is not None:
                ratio = spread(Interval(row["speedup"], row["speedup_low"], row["speedup_high"]), 3)
            floor = "unknown" if row["noise_floor"] is None else f"{100 * row['noise_floor']:.1f} %"
            shape = " × ".join(str(row[name]) for name in ("batch_size", "input_length") if row[name])
            cells.append([f"`{row['model']}`", shape, f"{row['mean_ms']:.2f}", ratio, row["verdict"] or "–", floor])
        return cells

    def __str__(self) -> str:
        return self._repr_markdown_()

    def __repr__(self) -> str:
        shapes = ", ".join(map(shape_name, self.latencies))
        return f"<Timing of {', '.join(self.names)} at {shapes}>"


def time(
    models: Mapping[str, str | Path],
    *,
    shapes: Sequence[tuple[int, int] | tuple[int]] = ((1, 128),),
    duration: float = 15,
    num_threads: int | None = None,
    warmup_runs: int = 10,
    launches: int | None = None,
    precision: float = 0.02,
    seed: int = 0,
    progress: bool = False,
) -> Timing:
    """Time ONNX files against each other, each in a process of its own, in slots that take turns.

    Inputs are drawn from the names and types in the files: whole numbers below 50, ones for masks, zeros for token
    types, normally distributed floats; every file gets the same. Holds the machine's lock, so that no other benchmark
    measures meanwhile.

    Args:
        models: paths by a name of your own; the others are compared with the first.
        shapes: (batch size, input length), or (batch size,) where inputs have no free length, as images.
        duration: seconds for which each is timed at each shape.
        num_threads: of each; one per physical core by default.
        warmup_runs: untimed calls before.
        launches: starts of all processes that share the duration; 4 by default, one where it is shorter than 5 s.
        precision: timing ends where no 95 % interval of a speedup is wider to either side, or after twice the duration.
        seed: of the inputs and of the order of slots.
        progress: whether bars are shown on standard error.

    Raises:
        BadInput: if files cannot be loaded, have inputs that differ or that cannot be drawn at a shape, or arguments
            are of no use.
        ArmFailed: if a model cannot be timed.

    """
    args = _arguments(
        duration=duration,
        num_threads=num_threads,
        warmup_runs=warmup_runs,
        launches=launches,
        precision=precision,
        seed=seed,
    )
    machine = _fit_for(args)
    files = {name: Path(path).expanduser() for name, path in models.items()}
    made = drawn.shapes(files, shapes, seed)
    specs, names = [_spec(path) for path in files.values()], tuple(models)
    return Timing(names, tuple(_measured(specs, names, made, args, machine, reporter(progress))), machine, precision)


def _arguments(**values: Any) -> TimeBenchmarkArgs:
    try:
        return TimeBenchmarkArgs(**values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise BadInput([Mistake(str(item["loc"][0]), wrong_value(item)) for item in found]) from None


def _fit_for(args: TimeBenchmarkArgs) -> Environment:
    """The machine, which can run so many threads at the same time."""
    machine = environment.detect()
    problem = environment.threads_problem(args.num_threads, machine)
    if problem:
        raise BadInput([Mistake("num_threads", problem)])
    return machine


def _spec(path: Path) -> ArmSpec:
    return ArmSpec(
        runtime="onnxruntime", path=str(path), sha256=file_sha256(path), options={"optimization_level": LEVEL}
    )


def _arm_names(count: int) -> list[str]:
    """What the statistics call the arms: the first is what all are compared with."""
    return [BASELINE, *map(str, range(1, count))]


def _measured(
    specs: Sequence[ArmSpec],
    names: Sequence[str],
    shapes: Sequence[Shape],
    args: TimeBenchmarkArgs,
    machine: Environment,
    told: Reporter,
) -> list[Latency]:
    """Raw samples by shape."""
    from quantbench.timing.several import time_against

    first, *others = specs
    numbers = _arm_names(len(specs))
    arms = dict(zip(numbers[1:], others, strict=True))
    what = f"Timing {', '.join(names)}"
    found = time_against(first, arms, shapes, args, machine, cache.folder(), told, what)
    if found.failures:
        called = dict(zip(numbers, names, strict=True)) | {NULL: names[0]}
        raise ArmFailed("; ".join(f"{called[arm]} cannot be timed: {why}" for arm, why in found.failures.items()))
    return found.latencies

"""What was found of files of any origin, held against their original: tables, reasons, and what breaks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantbench.analysis import speedups
from quantbench.analysis.intervals import Interval
from quantbench.analysis.speedups import NULL, Speedup, shape_name
from quantbench.diagnose.records import Diagnosis
from quantbench.pipeline.judge import Judged
from quantbench.pipeline.timed_files import Times
from quantbench.plugins import registry
from quantbench.quantize.contents import Contents
from quantbench.reports import _why
from quantbench.reports._markdown import counts, spread, table
from quantbench.schema.results import Latency, Scores
from quantbench.system import terminal

FILE, DATA = "check.md", "check.json"
SPEED = ("file", "shape", "original, ms", "file, ms", "speedup (95 %)", "verdict", "noise floor")
NONE = "–"
Rows = list[list[str]]
Draw = Callable[[str, Sequence[str], Rows], str]


@dataclass(frozen=True)
class Found:
    """All that was found.

    Attributes:
        files: judged ones.
        times: of those that run.
        causes: by a file's place what breaks it, or why that is not known.
        original: scores of the original.
        limits: the most that a metric may drop.
        precision: half width that intervals of speedups were measured to.
        title: the model and the data.

    """

    files: Sequence[Judged]
    times: Times
    causes: Mapping[int, Diagnosis | str]
    original: Scores
    limits: Mapping[str, float]
    precision: float
    title: str

    @property
    def names(self) -> list[str]:
        """What files are called: their names, or paths where two have the same."""
        counted = Counter(judged.path.name for judged in self.files)
        return [str(item.path) if counted[item.path.name] > 1 else item.path.name for item in self.files]

    def speeds(self) -> list[tuple[int, Latency, Speedup]]:
        """A file's place, the samples at a shape and the speedup, judged together."""
        rows = [
            (int(arm), latency)
            for latency in self.times.latencies
            for arm in latency.arms
            if arm not in (NULL, speedups.BASELINE)
        ]
        timed = [speedups.Timed(latency, str(place), speedups.BASELINE, self.precision) for place, latency in rows]
        judged = [(*row, speedup) for row, speedup in zip(rows, speedups.judged(timed), strict=True)]
        return sorted(judged, key=lambda row: row[0])


def markdown(found: Found) -> str:
    """The whole text as Markdown."""
    parts = [f"# {found.title}", *_tables(found, lambda title, header, rows: f"## {title}\n\n{table(header, rows)}")]
    parts += [f"* {line}" for line in _lines(found)]
    return "\n\n".join([*parts, *_causes(found)]).rstrip() + "\n"


def text(found: Found) -> str:
    """The whole text for a terminal."""
    width = terminal.width()
    parts = _tables(found, lambda title, header, rows: terminal.table(title, header, rows, width))
    parts += [terminal.printed(line, width) for line in _lines(found)]
    return "\n".join([*parts, *(f"\n{part}" for part in _causes(found))])


def _tables(found: Found, draw: Draw) -> list[str]:
    metric = next(iter(found.limits))
    limits = ", ".join(f"{name} {drop:.4g}" for name, drop in found.limits.items())
    value = f"{metric}, original {found.original.metrics[metric]:.4f}"
    header = ["file", "verdict", value, "file − original (95 %)", "changed", "size, MB", "in few bits"]
    title = f"Quality over {found.original.examples} examples; most that may be lost: {limits}"
    quality = [[name, *_quality(judged, metric)] for name, judged in zip(found.names, found.files, strict=True)]
    parts = [draw(title, header, quality)]
    speed = [[found.names[place], *_speed(latency, speedup)] for place, latency, speedup in found.speeds()]
    return parts + ([draw("Speed against the original as it was given", SPEED, speed)] if speed else [])


def _quality(judged: Judged, metric: str) -> list[str]:
    cells = [NONE] * 3
    if judged.scores is not None:
        share = f"{judged.scores.changed} of {judged.scores.examples}"
        cells = [f"{judged.scores.metrics[metric]:.4f}", spread(judged.differences[metric], 4, "+"), share]
    return [judged.verdict, *cells, f"{judged.bytes / 1e6:.1f}", _held(judged)]


def _speed(latency: Latency, speedup: Speedup) -> list[str]:
    times = [f"{speedups.mean_ms(latency.arms[arm]):.2f}" for arm in (speedup.against, speedup.arm)]
    floor = speedups.noise_floor(latency)
    return [
        shape_name(latency),
        *times,
        spread(speedup.interval, 2) if speedup.interval else "too few slots",
        speedup.verdict,
        "unknown" if floor is None else f"{100 * floor:.1f} %",
    ]


def _held(judged: Judged) -> str:
    """What is quantized in a file, in a few words."""
    if judged.contents is None:
        integer = _integer(judged)
        return f"runs {counts(integer)}" if integer else NONE if not judged.executed else "nothing"
    made = judged.contents
    how = "ranges found when it is run" if made.dynamic else "fixed ranges" if made.ranges else ""
    parts = [counts(made.operators) + (f" ({how})" if how else "")] if made.operators else []
    parts += [f"weights alone: {counts(made.stored)}"] if made.stored else []
    return "; ".join(parts) or "nothing"


def _integer(judged: Judged) -> dict[str, int]:
    """Operators of the session that compute on integers."""
    if not judged.runtime:
        return {}
    is_integer = registry.runtime(judged.runtime).is_integer
    return {name: count for name, count in judged.executed.items() if is_integer(name)}


def _lines(found: Found) -> list[str]:
    """What is to be said of single files: reasons, notes, weights, and that some were not timed."""
    lines = []
    for place, judged in enumerate(found.files):
        told = [f"{judged.verdict}: {judged.reason}"] if judged.reason else []
        told += _beyond(judged, found.limits)
        told += [*judged.notes, *_weights(judged)]
        told += [f"not timed: {why}"] if (why := found.times.failures.get(place)) else []
        if told:
            lines.append(f"{judged.path}: {'; '.join(told)}")
    return lines


def _beyond(judged: Judged, limits: Mapping[str, float]) -> list[str]:
    """What decides, where a file is worse or undecided by several metrics, or by too few examples."""
    if judged.verdict == "undecided":
        names = [name for name, drop in limits.items() if judged.differences[name].low < -drop]
        worst = ", ".join(f"{name} may have lost {-judged.differences[name].low:.4g}" for name in names)
        return [f"{worst}: score more examples (--set max_eval_samples=N), or allow for more (--max-drop)"]
    if judged.verdict == "worse" and len(limits) > 1 and judged.scores is not None:
        names = [name for name, drop in limits.items() if judged.differences[name].high < -drop]
        return [", ".join(f"{name} {spread(judged.differences[name], 4, '+')}" for name in names)]
    return []


def _weights(judged: Judged) -> list[str]:
    """What the file's numbers are, and what its session makes of them, where there is something to tell."""
    if judged.contents is None:
        return []
    sizes = {kind: size for kind, size in judged.contents.weights.items() if size >= judged.bytes / 100}
    told = ", ".join(f"{kind} {size / 1e6:.1f} MB" for kind, size in sizes.items())
    integer = _integer(judged)
    parts = [f"weights: {told}"] if told else []
    if judged.contents.operators and judged.executed and not integer:
        parts.append("its session computes in float, rounding in between: no quantized operator is left in it")
    elif integer:
        parts.append(f"its session runs {counts(integer)}")
    return parts


def _causes(found: Found) -> list[str]:
    parts = []
    for place, cause in found.causes.items():
        name = found.names[place]
        if isinstance(cause, str):
            parts.append(f"Why {name} loses what it loses is not known: {cause}.")
        else:
            parts.append(f"## Why `{name}` loses what it loses\n\n{_why.at_fault(cause)}")
    return parts


def data(found: Found) -> dict[str, Any]:
    """The figures as JSON."""
    speeds = found.speeds()
    return {
        "title": found.title,
        "examples": found.original.examples,
        "original": found.original.metrics,
        "limits": dict(found.limits),
        "files": [
            {
                **_data(judged),
                "not_timed": found.times.failures.get(place),
                "speed": [_timed(latency, speedup) for at, latency, speedup in speeds if at == place],
                "cause": _cause(found.causes.get(place)),
            }
            for place, judged in enumerate(found.files)
        ],
    }


def _cause(cause: Diagnosis | str | None) -> Any:
    return cause.model_dump(mode="json") if isinstance(cause, Diagnosis) else cause


def _data(judged: Judged) -> dict[str, Any]:
    scores, held = judged.scores, judged.contents
    return {
        "file": str(judged.path),
        "verdict": judged.verdict,
        "reason": judged.reason,
        "notes": list(judged.notes),
        "bytes": judged.bytes,
        "runtime": judged.runtime,
        "quantized": None if held is None else _contents(held),
        "executed": dict(judged.executed),
        "metrics": scores.metrics if scores else {},
        "differences": {name: _interval(interval) for name, interval in judged.differences.items()},
        "examples": scores.examples if scores else 0,
        "changed": scores.changed if scores else None,
    }


def _contents(held: Contents) -> dict[str, Any]:
    return {
        "operators": held.operators,
        "weights_alone": held.stored,
        "fixed_ranges": held.ranges,
        "dynamic": held.dynamic,
        "weights_bytes": held.weights,
    }


def _interval(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _timed(latency: Latency, speedup: Speedup) -> dict[str, Any]:
    return {
        "batch_size": latency.batch_size,
        "input_length": latency.input_length,
        "original_ms": speedups.mean_ms(latency.arms[speedup.against]),
        "file_ms": speedups.mean_ms(latency.arms[speedup.arm]),
        "speedup": speedup.ratio,
        "low": speedup.interval.low if speedup.interval else None,
        "high": speedup.interval.high if speedup.interval else None,
        "verdict": speedup.verdict,
        "noise_floor": speedups.noise_floor(latency),
    }

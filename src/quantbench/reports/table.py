"""The table on screen after a run: what each version costs and wins, as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantbench.analysis import speedups
from quantbench.analysis.losses import main_metric
from quantbench.analysis.machines import by_machine
from quantbench.analysis.speedups import shape_name
from quantbench.config.plan import numbers, told
from quantbench.reports._markdown import spread
from quantbench.reports._sections import busy_machine, unlabelled
from quantbench.schema.base import canonical_json
from quantbench.schema.results import Latency, Result, Skipped
from quantbench.schema.settings import Config
from quantbench.system import terminal

SUMMARY = "a table for the terminal"
FILE = "table.txt"
NONE = "–"
TIMES = ("shape", "original, ms", "optimized, ms", "speedup (95 %)", "verdict")


def render(config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """One row per run and shape, then what did not succeed; no wider than the terminal."""
    width = terminal.width()
    done = [result for result in results if result.done]
    parts = [_table(config, done, width)] if done else ["No run was finished."]
    parts += [terminal.printed(line, width) for line in (unlabelled(done), busy_machine(done)) if line]
    parts += [terminal.printed(line, width) for line in (*_failures(results), *_left_out(skipped))]
    return "\n".join(parts) + "\n"


def _table(config: Config, done: Sequence[Result], width: int) -> str:
    """Of finished runs, called by their names where these fit, else by their numbers, which are explained below."""
    metric = next((main_metric(result) for result in done if result.scores), "")
    timed = any(result.latency for result in done)
    header = ["run", *([f"{metric}, original", f"{metric}, optimized"] if metric else [])]
    header += [*(TIMES if timed else ()), "size, MB"]
    rows = [row for group in by_machine(done) for row in _rows(group, metric, timed)]
    title = f"{config.base.model_name_or_path} on {config.base.dataset.path}"
    named = [[result.run.name, *cells] for result, cells in rows]
    if terminal.fits(header, named, width):
        return terminal.table(title, header, named, width)
    known = numbers(config)
    places = {result.run.key: str(known.get(canonical_json(result.run.benchmarked), NONE)) for result, _ in rows}
    numbered = [[places[result.run.key], *cells] for result, cells in rows]
    legend = [f"{places[result.run.key]}: {told(result.run)}" for result in done]
    lines = [terminal.printed(line, width) for line in legend]
    return "\n".join([terminal.table(title, header, numbered, width), *lines])


def _rows(group: Sequence[Result], metric: str, timed: bool) -> Iterator[tuple[Result, list[str]]]:
    """Cells behind a run's name, of the runs of one machine, which alone are judged together."""
    judged = speedups.speedups(group)
    for result in group:
        size = f"{result.artifact.bytes / 1e6:.1f}" if result.artifact else NONE
        if not result.latency:
            cells = ["not timed", *(NONE,) * (len(TIMES) - 1)] if timed else []
            yield result, [*_scores(result, metric), *cells, size]
        for index, latency in enumerate(result.latency):
            yield result, [*_scores(result, metric), *_times(latency, judged[result.run.key, index][0]), size]


def _scores(result: Result, metric: str) -> list[str]:
    if not metric:
        return []
    arms = ("original", "optimized")
    return [f"{result.scores[arm].metrics[metric]:.3f}" if arm in result.scores else NONE for arm in arms]


def _times(latency: Latency, speedup: speedups.Speedup) -> list[str]:
    return [
        shape_name(latency),
        *(f"{speedups.mean_ms(latency.arms[name]):.2f}" for name in ("pytorch", "optimized")),
        spread(speedup.interval, 2) if speedup.interval else "too few slots",
        _verdict(speedup),
    ]


def _verdict(speedup: speedups.Speedup) -> str:
    return f"{speedup.verdict}{', unstable' if speedup.unstable else ''}"


def _failures(results: Sequence[Result]) -> Iterator[str]:
    """Each reason once, in short, with the runs that it stopped."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.failure:
            found = reasons.setdefault((result.failure.stage, result.failure.reason), [])
            found.append(told(result.run))
    for (stage, reason), runs in reasons.items():
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        yield f"failed in {stage}: {terminal.brief(reason)}"
        yield f"    {runs[0]}{more}; the card has all of it. The same command tries again, --verbose shows where"


def _left_out(skipped: Sequence[Skipped]) -> Iterator[str]:
    for item in skipped:
        yield f"skipped {told(item)}: {item.reason}"

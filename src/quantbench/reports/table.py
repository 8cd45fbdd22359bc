"""The table on screen after a run: what each version costs and wins, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table

from quantbench import stats
from quantbench.environment import by_machine
from quantbench.evidence import busy_machine, main_metric, shape_name
from quantbench.records import Latency, Result, Skipped
from quantbench.settings import Config
from quantbench.tables import spread

SUMMARY = "a table for the terminal"
FILE = "table.txt"
WIDTH = 140


def render(config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """One row per run and shape."""
    metric = next((main_metric(result) for result in results if result.scores), "")
    table = Table(title=f"{config.base.model_name_or_path} on {config.base.dataset.path}", title_justify="left")
    table.add_column("run", overflow="fold", max_width=48)
    for name in (
        f"{metric}, original",
        f"{metric}, optimized",
        "shape",
        "original, ms",
        "optimized, ms",
        "speedup (95 %)",
        "verdict",
        "size, MB",
    ):
        table.add_column(name, justify="right")
    for group in by_machine(results):
        judged = stats.speedups(group)
        for result in group:
            if not result.done:
                table.add_row(result.run.name, "failed")
            elif not result.latency:
                table.add_row(result.run.name, *_scores(result, metric), "not timed", *("–",) * 4, _size(result))
            for index, latency in enumerate(result.latency):
                table.add_row(result.run.name, *_cells(result, latency, metric, judged[result.run.key, index][0]))
        table.add_section()
    console = Console(file=StringIO(), width=WIDTH)
    console.print(table)
    busy = busy_machine([result for result in results if result.done])
    if busy:
        console.print(busy, highlight=False)
    for result in results:
        if result.failure:
            console.print(f"failed {result.run.name}: {result.failure.reason}", highlight=False)
    for item in skipped:
        console.print(f"skipped {item.benchmarked}: {item.reason}", highlight=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


def _cells(result: Result, latency: Latency, metric: str, speedup: stats.Speedup) -> list[str]:
    return [
        *_scores(result, metric),
        shape_name(latency),
        *(f"{stats.mean_ms(latency.arms[name]):.2f}" for name in ("pytorch", "optimized")),
        spread(speedup.interval, 2) if speedup.interval else f"{speedup.ratio:.2f}",
        _verdict(speedup),
        _size(result),
    ]


def _scores(result: Result, metric: str) -> list[str]:
    return [f"{result.scores[arm].metrics[metric]:.3f}" for arm in ("original", "optimized")]


def _size(result: Result) -> str:
    return f"{result.artifact.bytes / 1e6:.1f}" if result.artifact else "–"


def _verdict(speedup: stats.Speedup) -> str:
    held_up = f", {speedup.held_up} of {speedup.held_up + speedup.rounds} rounds held up" if speedup.held_up else ""
    return f"{speedup.verdict}{', unstable' if speedup.unstable else ''}{held_up}"

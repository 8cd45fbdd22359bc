"""The demo from an empty folder to the card: where its time goes, how sure its speedups are, whether a second agrees.

Twice on an otherwise idle machine, then compared, and once while another process loads one core on and off.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.arms import load_on_and_off
from quantbench import benchmark, embedded, stats
from quantbench.comparison import render
from quantbench.config import load_config
from quantbench.progress import Silent
from quantbench.records import Result
from quantbench.store import Store
from quantbench.tables import table

PHASES = ("export", "calibration", "quantization", "evaluation", "timing")


def report() -> str:
    """Markdown: shares of the first run's time, half-widths of all three, the comparison of the first two."""
    with tempfile.TemporaryDirectory() as folder:
        first, seconds = _demo(Path(folder) / "first")
        second, _ = _demo(Path(folder) / "second")
        with load_on_and_off(True):
            loaded, _ = _demo(Path(folder) / "loaded")
    sure = [
        _sureness(name, results)
        for name, results in (("first", first), ("second", second), ("one core loaded", loaded))
    ]
    header = ["demo", "half-width of the speedup, median of rows", "noise floor", "speedups", "verdicts"]
    return "\n\n".join(
        [
            f"## Shares of the demo's {seconds:.0f} s",
            _shares(first, seconds),
            "## How sure the demo's speedups over PyTorch are",
            table(header, sure),
            "## The first two demos compared",
            render(first, second),
        ]
    )


def _demo(folder: Path) -> tuple[list[Result], float]:
    begin = time.perf_counter()
    benchmark.run(load_config(embedded.CONFIG), folder, "*", Silent())
    return Store(folder).results(), time.perf_counter() - begin


def _shares(results: list[Result], whole: float) -> str:
    seconds = {phase: sum(result.seconds.get(phase, 0.0) for result in results) for phase in PHASES}
    seconds["everything else"] = whole - sum(seconds.values())
    rows = [[phase, f"{spent:.1f}", f"{100 * spent / whole:.1f} %"] for phase, spent in seconds.items()]
    return table(["phase", "seconds", "share"], rows)


def _sureness(name: str, results: list[Result]) -> list[str]:
    main = [row[0] for row in stats.speedups(results).values()]
    widths = [row.interval.half_width / row.ratio for row in main if row.interval]
    floors = [stats.noise_floor(latency) or 0.0 for result in results for latency in result.latency]
    return [
        name,
        f"{100 * statistics.median(widths):.2f} %",
        f"{100 * max(floors):.2f} %",
        ", ".join(f"{row.ratio:.3f}" for row in main),
        ", ".join(f"{row.verdict}{', unstable' if row.unstable else ''}" for row in main),
    ]

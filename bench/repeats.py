"""How sure the demo's speedups are, and whether a second demo agrees.

Twice on an otherwise idle machine, then compared, and once while another process loads one core on and off.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench.arms import load_on_and_off, run_demo
from quantbench.analysis import speedups
from quantbench.reports._comparison import render
from quantbench.reports._markdown import table
from quantbench.schema.results import Result


def report() -> str:
    """Markdown: half-widths of all three demos, the comparison of the first two."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (run_demo(Path(folder) / name)[0] for name in ("first", "second"))
        with load_on_and_off(True):
            loaded = run_demo(Path(folder) / "loaded")[0]
    demos = {"first": first, "second": second, "one core loaded on and off": loaded}
    header = ["demo", "half-width of the speedup, median of rows", "noise floor", "speedups", "verdicts"]
    return "\n\n".join(
        [
            "## How sure the demo's speedups over PyTorch are",
            table(header, [_sureness(name, results) for name, results in demos.items()]),
            "## The first two demos compared",
            render(first, second),
        ]
    )


def _sureness(name: str, results: list[Result]) -> list[str]:
    main = [row[0] for row in speedups.speedups(results).values()]
    widths = [row.interval.half_width / row.ratio for row in main if row.interval]
    floors = [speedups.noise_floor(latency) or 0.0 for result in results for latency in result.latency]
    return [
        name,
        f"{100 * statistics.median(widths):.2f} %",
        f"{100 * max(floors):.2f} %",
        ", ".join(f"{row.ratio:.3f}" for row in main),
        ", ".join(f"{row.verdict}{', unstable' if row.unstable else ''}" for row in main),
    ]

"""Where the time of a whole benchmark goes: the demo, from an empty folder to the card."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.arms import run_demo
from quantbench.reports._markdown import table

PHASES = ("export", "calibration", "quantization", "evaluation", "timing")


def report() -> str:
    """Markdown table: seconds and share of the whole by phase."""
    with tempfile.TemporaryDirectory() as folder:
        results, whole = run_demo(Path(folder) / "out")
    seconds = {phase: sum(result.seconds.get(phase, 0.0) for result in results) for phase in PHASES}
    seconds["everything else"] = whole - sum(seconds.values())
    rows = [[phase, f"{spent:.1f}", f"{100 * spent / whole:.1f} %"] for phase, spent in seconds.items()]
    return f"## Shares of the demo's {whole:.0f} s\n\n" + table(["phase", "seconds", "share"], rows)

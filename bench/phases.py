"""Where the time of a whole run goes: the demo, from an empty folder to the card."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from quantbench import benchmark, embedded
from quantbench.config import load_config
from quantbench.progress import Silent
from quantbench.store import Store
from quantbench.tables import table

PHASES = ("export", "calibration", "quantization", "evaluation", "timing")


def report() -> str:
    """Markdown table: seconds and share of the whole by phase."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        benchmark.run(load_config(embedded.CONFIG), Path(folder) / "out", "*", Silent())
        whole = time.perf_counter() - begin
        results = Store(Path(folder) / "out").results()
    seconds = {phase: sum(result.seconds.get(phase, 0.0) for result in results) for phase in PHASES}
    seconds["everything else"] = whole - sum(seconds.values())
    rows = [[phase, f"{spent:.1f}", f"{100 * spent / whole:.1f} %"] for phase, spent in seconds.items()]
    return f"## Shares of the demo's {whole:.0f} s\n\n" + table(["phase", "seconds", "share"], rows)

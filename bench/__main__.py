"""Run all benchmarks, print their tables and keep them in ``runs/bench/bench.md``.

``coverage``, ``estimators``, ``large``, ``rendering``, ``simulation`` and ``stopping`` take options, last long, and run
only where they are named.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import (
    calibration_memory,
    coverage,
    estimators,
    evaluation_batches,
    examples,
    experiments,
    large,
    launchers,
    phases,
    rendering,
    repeats,
    simulation,
    stopping,
    tuning,
)
from quantbench.system.environment import detect

PARTS = (calibration_memory, evaluation_batches, phases, repeats, launchers, examples, tuning, experiments)
ALONE = {
    "coverage": coverage.main,
    "stopping": stopping.main,
    "estimators": estimators.main,
    "large": large.main,
    "rendering": rendering.main,
    "simulation": simulation.main,
}
"""Parts with options of their own."""
OUT = Path("runs/bench/bench.md")


def main() -> None:
    """Run the parts named on the command line, or all of them."""
    wanted = sys.argv[1:]
    if wanted and wanted[0] in ALONE:
        ALONE[wanted[0]](wanted[1:])
        return
    environment = detect()
    texts = [f"{environment.cpu_model}, {environment.cores} cores, load before {environment.load}"]
    print(texts[0], flush=True)
    for part in PARTS:
        if wanted and part.__name__.rpartition(".")[2] not in wanted:
            continue
        text = part.report()
        print("\n" + text, flush=True)
        texts.append(text)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("\n\n".join(texts) + "\n")
    print(f"\nkept in {OUT}")


if __name__ == "__main__":
    main()

"""What stopping as soon as intervals are narrow enough does to their coverage, in simulated sessions.

    python -m bench stopping --sessions 400

Each session of :mod:`bench.simulation` is timed as ``timing.session`` does it: until the widest interval of an arm over
the slow one is as narrow as asked at one of the looks, at most twice as long as the duration.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import numpy as np

from bench.simulation import MODELS, SLOT_SECONDS, TRUTH, Model, arms
from quantbench.analysis.undisturbed import session
from quantbench.reports._markdown import table
from quantbench.schema.results import ArmLatency
from quantbench.timing.looks import LONGEST, Watch

DURATION = 15.0
PRECISIONS = (0.02, 0.01)


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench stopping", description=__doc__)
    parser.add_argument("--sessions", type=int, default=400)
    given = parser.parse_args(arguments)
    rows = [[name, *_row(model, given.sessions)] for name, model in MODELS.items()]
    header = ["", "15 s: covered, half width"]
    for precision in PRECISIONS:
        header.append(f"until ±{precision:.0%}: covered, half width, seconds per arm")
    print(table(header, rows))


def _row(model: Model, sessions: int) -> list[str]:
    whole: list[tuple[bool, float]] = []
    stopped: dict[float, list[tuple[bool, float, float]]] = {precision: [] for precision in PRECISIONS}
    per_look = [round(seconds / SLOT_SECONDS) for seconds in Watch(print).looks(DURATION)]
    for seed in range(sessions):
        made = arms(np.random.default_rng(seed), model, round(LONGEST * DURATION / SLOT_SECONDS))
        found = {}
        for rounds in per_look:
            drawn = session(_first(made, rounds), False)
            if drawn is None:
                continue
            ratios = [drawn.ratio(name, "slow").interval for name in ("fast", "other")]
            found[rounds] = ratios[0], max(ratio.half_width for ratio in ratios)
        drawn = session(_first(made, round(DURATION / SLOT_SECONDS)), False)
        assert drawn is not None, "15 s are enough rounds"
        one = drawn.ratio("fast", "slow").interval
        whole.append((one.low <= TRUTH <= one.high, one.half_width))
        for precision in PRECISIONS:
            rounds = next((r for r, (_, width) in found.items() if width <= precision), max(found))
            interval = found[rounds][0]
            covered = interval.low <= TRUTH <= interval.high
            stopped[precision].append((covered, interval.half_width, rounds * SLOT_SECONDS))
    cells = [f"{statistics.fmean(c for c, _ in whole):.1%}, {statistics.median(w for _, w in whole):.1%}"]
    for seen in stopped.values():
        hits, widths, seconds = zip(*seen, strict=True)
        cells.append(f"{statistics.fmean(hits):.1%}, {statistics.median(widths):.1%}, {statistics.fmean(seconds):.1f}")
    return cells


def _first(made: dict[str, ArmLatency], rounds: int) -> dict[str, ArmLatency]:
    return {name: arm.model_copy(update={"slots": arm.slots[:rounds]}) for name, arm in made.items()}

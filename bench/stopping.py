"""What stopping as soon as intervals are narrow enough does to their coverage, in simulated sessions.

    python -m bench stopping --sessions 400

Each launch of a session is one of :mod:`bench.simulation`, in which every process is favoured by a normal deviation
that lasts as long as it lives. There are launches as in ``timing.session``, until the widest interval of an arm over
the slow one is as narrow as asked at one of the looks.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence

import numpy as np

from bench.simulation import MODELS, SLOT_SECONDS, TRUTH, Model, arms
from quantbench.analysis.undisturbed import session
from quantbench.reports._markdown import table
from quantbench.schema.results import ArmLatency
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.timing.looks import Watch, launch_looks

DURATION = 15.0
PRECISIONS = (0.02, 0.01)
FAVOURED = 0.003
"""Standard deviation of what a process is favoured by: with it a file differs from itself by 0.4 %, as was measured."""
SLOW, FAST = "slow", "fast"


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench stopping", description=__doc__)
    parser.add_argument("--sessions", type=int, default=400)
    given = parser.parse_args(arguments)
    rows = [
        [name, _told(model, given.sessions, None), *(_told(model, given.sessions, one) for one in PRECISIONS)]
        for name, model in MODELS.items()
    ]
    header = ["", "15 s: covers, half-width"]
    header += [f"until ±{precision:.0%}: covers, half-width, seconds per arm" for precision in PRECISIONS]
    print(table(header, rows))


def _told(model: Model, sessions: int, precision: float | None) -> str:
    """One cell: stopped at a precision, or after the whole duration where that is None."""
    seen = [_timed(np.random.default_rng(seed), model, precision) for seed in range(sessions)]
    covers, widths, seconds = zip(*seen, strict=True)
    text = f"{statistics.fmean(covers):.1%}, {statistics.median(widths):.1%}"
    return text if precision is None else f"{text}, {statistics.fmean(seconds):.1f}"


def _timed(generator: np.random.Generator, model: Model, precision: float | None) -> tuple[bool, float, float]:
    """Whether the interval covers the truth, its half-width, and seconds per arm."""
    args = TimeBenchmarkArgs(duration=DURATION, precision=precision or PRECISIONS[0])
    watch, made = Watch(lambda _: None), dict[str, ArmLatency]()
    looks = launch_looks(args.starts) if precision else [args.starts]
    for number in range(looks[-1]):
        made = _together(made, _launch(generator, model, number, args.duration / args.starts))
        if number + 1 in looks and watch.enough_launches(made, SLOW, False, args):
            break
    found = session(made, False)
    assert found is not None, "there are rounds enough"
    interval = found.ratio(FAST, SLOW).interval
    rounds = len(made[SLOW].slots)
    return interval.low <= TRUTH <= interval.high, interval.half_width, rounds * SLOT_SECONDS


def _launch(generator: np.random.Generator, model: Model, number: int, seconds: float) -> dict[str, ArmLatency]:
    made = arms(generator, model, math.ceil(seconds / SLOT_SECONDS))
    return {name: _favoured(arm, FAVOURED * generator.normal(), number) for name, arm in made.items()}


def _favoured(arm: ArmLatency, by: float, launch: int) -> ArmLatency:
    slots = [
        slot.model_copy(
            update={"launch": launch, "nanoseconds": tuple(round(n * math.exp(by)) for n in slot.nanoseconds)}
        )
        for slot in arm.slots
    ]
    return arm.model_copy(update={"slots": tuple(slots)})


def _together(before: dict[str, ArmLatency], after: dict[str, ArmLatency]) -> dict[str, ArmLatency]:
    return {
        name: arm.model_copy(update={"slots": (*(before[name].slots if before else ()), *arm.slots)})
        for name, arm in after.items()
    }

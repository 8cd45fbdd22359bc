"""Records sessions of files whose ratio is known, idle and under load, from which estimators are judged later.

    python -m bench coverage --condition truth --sessions 20
    python -m bench coverage --condition idle --sessions 20
    python -m bench estimators

Five arms per session: the float export of the embedded model, the same once more, and the same with extra layers of 3,
10 and 60 % of its multiplications. Sessions of the condition ``truth`` are like idle ones but longer; they should have
the machine to themselves, as what they say is taken as true. Every session has new processes, as a user's has. Its raw
slots are kept in a file of its own, so that a recording can be ended at any time and goes on where it was.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.arms import beside, burn_always, burn_on_and_off, copy_always, float_arm, lengthened
from quantbench.analysis.speedups import BASELINE, NULL
from quantbench.schema.results import ArmSpec, Latency
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.system import environment
from quantbench.system.writing import write_atomically
from quantbench.timing.session import Shape, time_arms

FOLDER = Path("runs/coverage")
SHARES = (0.03, 0.10, 0.60)
SECONDS = 15.0
TRUTH_FACTOR = 2
"""A session that tells the truth is so many times as long as the others."""
TRUTH = "truth"
Load = tuple[Callable[[int], None] | None, int]
LOADS: dict[str, Load] = {
    TRUTH: (None, 0),
    "idle": (None, 0),
    "core": (burn_on_and_off, 1),
    "cores": (burn_always, environment.usable_cores()),
    "memory": (copy_always, 1),
}
"""What other processes do in every condition, and how many do it."""


def main(arguments: Sequence[str]) -> None:
    """Record the sessions of one condition, or of all, that are not there yet."""
    parser = argparse.ArgumentParser(prog="python -m bench coverage", description=__doc__)
    parser.add_argument("--condition", choices=list(LOADS), help="all by default")
    parser.add_argument("--sessions", type=int, default=20, help="of each condition, those that are there included")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="per arm and session")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    _, plain, shape = float_arm(given.folder / "cache")
    specs = arms(plain, given.folder / "models")
    for condition in [given.condition] if given.condition else LOADS:
        for number in range(given.sessions):
            path = session_path(given.folder, condition, number)
            if not path.exists():
                latency = record(specs, shape, condition, given.seconds, number)
                write_atomically(path, gzip.compress(latency.model_dump_json().encode(), mtime=0))
                print(f"{path}: {len(latency.arms[BASELINE].slots)} rounds", flush=True)


def session_path(folder: Path, condition: str, number: int) -> Path:
    """Where a session is kept."""
    return folder / "sessions" / f"{condition}-{number:03}.json.gz"


def sessions(folder: Path, condition: str) -> Iterator[Latency]:
    """Every recorded session of a condition, in order."""
    for path in sorted((folder / "sessions").glob(f"{condition}-*.json.gz")):
        yield Latency.model_validate_json(gzip.decompress(path.read_bytes()))


def arms(plain: ArmSpec, folder: Path) -> dict[str, ArmSpec]:
    """The arms by name: the first two are the same file."""
    longer = {f"{share:.0%}": lengthened(plain, share, folder) for share in SHARES}
    return {BASELINE: plain, NULL: plain, **longer}


def record(specs: dict[str, ArmSpec], shape: Shape, condition: str, seconds: float, seed: int) -> Latency:
    """One session of all arms under a load."""
    length = seconds * TRUTH_FACTOR if condition == TRUTH else seconds
    with beside(*LOADS[condition]):
        timings = time_arms(specs, BASELINE, [shape], _args(length, seed), environment.usable_cores(), lambda _: None)
    if timings.failures:
        raise RuntimeError(str(timings.failures))
    measured = timings.shapes[0]
    return Latency(
        batch_size=shape.batch_size,
        input_length=shape.input_length,
        arms=measured.arms,
        slot_seconds=measured.slot_seconds,
    )


def _args(seconds: float, seed: int) -> TimeBenchmarkArgs:
    """Never extended, whatever the intervals are."""
    return TimeBenchmarkArgs(duration=seconds, warmup_runs=5, seed=seed, precision=0.999)

"""What a timing has finished when it is interrupted or killed: a file per shape, which the next call goes on from."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue, ValidationError

from quantbench.schema.base import Record, digest
from quantbench.schema.results import ArmLatency, ArmSpec, Environment
from quantbench.schema.settings import InputLength, TimeBenchmarkArgs
from quantbench.system.writing import write_atomically

FOLDER = "timing"
MACHINE = {"host", "cpu_model", "instruction_sets", "cores", "versions", "cap"}
"""What of an environment must be the same for shapes to belong to one measurement."""


class Kept(Record):
    """Raw samples of all arms at one shape after so many whole launches; see ``session.ShapeTimings``."""

    launches: int
    arms: dict[str, ArmLatency]
    slot_seconds: float
    extended: bool


class Keeper:
    """Keeps what one measurement has finished, in a folder named by everything that it depends on."""

    def __init__(self, folder: Path, question: JsonValue) -> None:
        self._folder = folder / FOLDER / digest(question)[:16]

    def read(self, index: int, arms: Collection[str]) -> Kept | None:
        """What was kept of a shape; None if there is nothing, it is damaged, or an arm is missing from it."""
        try:
            found = Kept.model_validate_json((self._folder / f"{index}.json").read_bytes())
        except (OSError, ValidationError):
            return None
        return found if set(found.arms) == set(arms) else None

    def write(self, index: int, kept: Kept) -> None:
        """Write what was measured at a shape, atomically."""
        write_atomically(self._folder / f"{index}.json", kept.model_dump_json().encode())

    def finished(self, shapes: int, arms: Collection[str], launches: int) -> int:
        """How many of so many shapes are kept after so many launches."""
        found = (self.read(index, arms) for index in range(shapes))
        return sum(kept is not None and kept.launches >= launches for kept in found)

    def clear(self) -> None:
        """Delete all that was kept, once the results are stored."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._folder.parent.is_dir() and not any(self._folder.parent.iterdir()):
            self._folder.parent.rmdir()


def question(
    specs: Mapping[str, ArmSpec],
    shapes: Sequence[tuple[int, InputLength | None]],
    args: TimeBenchmarkArgs,
    threads: int,
    environment: Environment,
    data: str,
) -> JsonValue:
    """What a measurement depends on: its arms, shapes, arguments, machine, and the examples where these are timed."""
    return {
        "arms": {name: spec.model_dump(mode="json", exclude={"path"}) for name, spec in specs.items()},
        "shapes": [list(shape) for shape in shapes],
        "args": args.model_dump(mode="json"),
        "threads": threads,
        "machine": environment.model_dump(mode="json", include=MACHINE),
        "data": data,
    }

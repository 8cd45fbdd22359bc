"""What a configuration would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from quantbench.api import frames
from quantbench.config.estimate import Shared, estimate
from quantbench.config.plan import make_plan, numbers, told
from quantbench.plugins import registry
from quantbench.results.store import Store
from quantbench.schema.base import canonical_json, digest
from quantbench.schema.results import Run, Skipped
from quantbench.schema.settings import Config

if TYPE_CHECKING:
    import pandas

State = Literal["run", "done", "skipped"]


@dataclass(frozen=True)
class Row:
    """One combination of a plan.

    Attributes:
        number: its place among the runs, from 1; None where it is skipped.
        state: ``run`` is still to be done.
        name: of the run; empty where it is skipped.
        values: the benchmarked parameters with their values, in full.
        reason: why it is skipped.
        shortened: whether the name does not tell all of the values.

    """

    number: int | None
    state: State
    name: str
    values: str
    reason: str = ""
    shortened: bool = False


@dataclass(frozen=True)
class Plan:
    """The runs of a configuration.

    Attributes:
        runs: those still to be done.
        done: those whose results are there.
        skipped: combinations that are not run, with the reason.

    """

    runs: tuple[Run, ...]
    done: tuple[Run, ...]
    skipped: tuple[Skipped, ...]
    _config: Config
    _folder: Path

    @property
    def cost(self) -> Shared:
        """What the missing runs share, and how many seconds they will take together: a rough guess but for timing."""
        return estimate(self.runs)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every combination: runs in the order of the grid, then what is skipped."""
        known = numbers(self._config)
        missing = {run.key for run in self.runs}
        found = [
            Row(
                number=known[canonical_json(run.benchmarked)],
                state="run" if run.key in missing else "done",
                name=run.name,
                values=told(run),
                shortened=told(run) != run.name and run.name.endswith(digest(dict(run.benchmarked))[:8]),
            )
            for run in (*self.runs, *self.done)
        ]
        left_out = [Row(None, "skipped", "", told(item), item.reason) for item in self.skipped]
        return (*sorted(found, key=lambda row: row.number or 0), *left_out)

    def requests(self) -> list[dict[str, JsonValue]]:
        """What the configuration's backend would be asked for, a document for every missing run."""
        output = Store(self._folder, self._config.places)
        return [
            request
            for runs in by_backend(self.runs)
            for request in registry.launcher(runs[0].settings.backend.name).requests(runs, output)
        ]

    def to_dataframe(self) -> pandas.DataFrame:
        """A row per combination: ``number``, ``state``, ``name``, ``values``, ``reason``."""
        columns = ("number", "state", "name", "values", "reason")
        return frames.frame([{name: getattr(row, name) for name in columns} for row in self.rows], columns)

    def _repr_markdown_(self) -> str:
        from quantbench.reports._markdown import table

        cells = [[str(row.number or "–"), row.state, row.name or row.reason, f"`{row.values}`"] for row in self.rows]
        minutes = f"{len(self.runs)} runs to do, about {self.cost.total_seconds / 60:.0f} min."
        return f"{table(['number', 'state', 'name', 'values'], cells)}\n\n{minutes}"

    def __repr__(self) -> str:
        return f"<Plan: {len(self.runs)} to run, {len(self.done)} done, {len(self.skipped)} skipped>"


def plan(config: Config, *, out: str | Path | None = None, only: str = "*") -> Plan:
    """The runs of a configuration that are missing in a folder; nothing is started or written.

    Args:
        config: the configuration.
        out: the output folder whose results are counted as done; None for none.
        only: which runs: a name, a number, a key or ``parameter=value``; globs.

    Raises:
        BadInput: if the folder belongs to something else, or no run matches ``only``.

    """
    folder = Path() if out is None else Path(out)
    stored = () if out is None else Store(folder).stored_for(config)
    made = make_plan(config, stored, only)
    return Plan(made.runs, made.done, made.skipped, config, folder)


def by_backend(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs in groups that execute at the same place."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(canonical_json(run.settings.backend.model_dump(mode="json")), []).append(run)
    return list(found.values())

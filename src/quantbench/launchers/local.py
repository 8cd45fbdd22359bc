"""On this machine, with shared preparation: runs are prepared one after another and timed together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from quantbench.records import Job, Result, Run

if TYPE_CHECKING:
    from quantbench.store import Store
    from quantbench.workbench import Workbench

SUMMARY = "this machine"
ARGS = ("supported_instructions",)
REMOTE = False
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""


def check(args: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """See ``registry.Launcher``; names and levels are checked by ``rules``."""
    return []


def requests(runs: Sequence[Run], store: Store) -> list[dict[str, JsonValue]]:
    """What each run is; all of them are executed by one process."""
    return [Job(run=run).model_dump(mode="json") for run in runs]


def launch(runs: Sequence[Run], store: Store, workbench: Workbench) -> Iterable[Result]:
    """Execute runs here; see ``registry.Launcher``."""
    from quantbench import worker

    return worker.execute(runs, store, workbench)

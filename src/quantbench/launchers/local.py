"""On this machine, one run after another, with shared preparation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quantbench import worker
from quantbench.records import Result, Run
from quantbench.store import Store
from quantbench.workbench import Workbench

SUMMARY = "this machine"


def launch(runs: Sequence[Run], store: Store, workbench: Workbench) -> Iterable[Result]:
    """Execute runs here; see ``registry.Launcher``."""
    return worker.execute(runs, store, workbench)

"""On this machine, one run after another, with shared preparation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from quantbench.records import Result, Run

if TYPE_CHECKING:
    from quantbench.store import Store
    from quantbench.workbench import Workbench

SUMMARY = "this machine"
ARGS = ("supported_instructions",)


def launch(runs: Sequence[Run], store: Store, workbench: Workbench) -> Iterable[Result]:
    """Execute runs here; see ``registry.Launcher``."""
    from quantbench import worker

    return worker.execute(runs, store, workbench)

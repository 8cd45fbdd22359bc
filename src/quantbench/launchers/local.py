"""On this machine, with shared preparation: runs are prepared one after another and timed together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import JsonValue

from quantbench.plugins.arguments import LauncherArgs
from quantbench.plugins.protocols import LaunchContext, Output
from quantbench.schema.results import Job, Result, Run

SUMMARY = "this machine"
Args = LauncherArgs
REMOTE = False
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""


def requests(runs: Sequence[Run], output: Output) -> list[dict[str, JsonValue]]:
    """What each run is; all of them are executed by one process."""
    return [Job(run=run).model_dump(mode="json") for run in runs]


def launch(runs: Sequence[Run], context: LaunchContext) -> Iterable[Result]:
    """Execute runs here; see ``protocols.Launcher``."""
    return context.execute(runs)

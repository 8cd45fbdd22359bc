"""How long the threads of this process waited for a CPU that others had, call by call."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

TASKS = Path("/proc/self/task")
SHORTEST = 1_000_000
"""Nanoseconds of a call below which it is not asked: to ask takes a share of them, and few such calls meet another
process, so that a slot's median is of those that did not."""


class Seen(NamedTuple):
    """What a thread has spent so far, in nanoseconds."""

    running: int
    waiting: int


class Threads:
    """The threads of this process as the scheduler counts their time.

    Source: ``/proc/PID/task/TID/schedstat`` (Linux, Documentation/scheduler/sched-stats.rst): time on a CPU and time in
    a run queue. Nothing is seen where the system does not tell.
    """

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def refresh(self) -> None:
        """Take note of threads that have come or gone."""
        try:
            alive = {path.name for path in TASKS.iterdir()}
        except OSError:
            return
        for name in self._files.keys() - alive:
            os.close(self._files.pop(name))
        for name in alive - self._files.keys():
            with contextlib.suppress(OSError):
                self._files[name] = os.open(TASKS / name / "schedstat", os.O_RDONLY)

    def look(self) -> dict[str, Seen]:
        """What every thread has spent."""
        found = {}
        for name, file in self._files.items():
            try:
                running, waiting, _ = os.pread(file, 64, 0).split()
            except (OSError, ValueError):  # it has ended
                continue
            found[name] = Seen(int(running), int(waiting))
        return found

    def close(self) -> None:
        """Let go of the files."""
        while self._files:
            os.close(self._files.popitem()[1])


def held_up(before: dict[str, Seen], after: dict[str, Seen], took: int) -> int:
    """Nanoseconds of a call that the wait for a CPU made it longer by, at least.

    Of threads that work together the longest wait of one: where two waited at once, a sum would count that twice. And a
    call takes no less than its busiest thread ran: what others waited to do this one may have done.

    Args:
        before: what its threads had spent when it began.
        after: what they had when it ended.
        took: by the clock.

    """
    spent = [
        (seen.running - before[name].running, seen.waiting - before[name].waiting)
        for name, seen in after.items()
        if name in before
    ]
    longest, busiest = (max((both[place] for both in spent), default=0) for place in (1, 0))
    return max(0, min(longest, took - busiest))

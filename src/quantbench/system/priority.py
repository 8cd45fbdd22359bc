"""The priority of what is timed: the highest where the system allows it, so that other processes wait and not it."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from quantbench.errors import BadInput, Mistake

VARIABLE = "QUANTBENCH_PRIORITY"
HIGH, NORMAL = "high", "normal"
NICENESS = -20
"""The lowest there is, for a weight of 87 times that of an ordinary process (Linux, sched(7))."""
AUTOGROUP = Path("/proc/self/autogroup")
"""Processes of one session share a weight where the kernel groups them (sched(7), "The autogroup feature")."""


def of_timed() -> str:
    """``high`` where timed processes get more of a CPU than others, ``normal`` where system or user forbid it.

    Raises:
        BadInput: if ``$QUANTBENCH_PRIORITY`` is neither ``high`` nor ``normal``.

    """
    wanted = _wanted()
    if wanted not in (HIGH, NORMAL):
        message = f"{wanted!r} is no priority; set it to {HIGH} or {NORMAL}, or leave it out"
        raise BadInput([Mistake(f"${VARIABLE}", message)])
    return HIGH if wanted == HIGH and _permitted() else NORMAL


def take() -> None:
    """Give it to this thread and those that it will start, and to its session, which should have no other process."""
    if _wanted() == HIGH:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
            AUTOGROUP.write_text(str(NICENESS))


def _wanted() -> str:
    return os.environ.get(VARIABLE, HIGH)


def _permitted() -> bool:
    """Tried in a thread that ends then: neither user nor capabilities tell, as both may be those of a container."""
    allowed = []

    def attempt() -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            allowed.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(allowed)

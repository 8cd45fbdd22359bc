"""Work on what is in memory already, several pieces at a time, by copies of this process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from quantbench.system.environment import usable_cores

T = TypeVar("T")
FORK = "fork"
"""A process that begins as a copy of this one need not be sent what it works on."""


def possible() -> bool:
    """Whether this system copies processes."""
    return FORK in multiprocessing.get_all_start_methods()


def results_of(works: Sequence[Callable[[], T]], together: int = 1) -> Iterator[T]:
    """What functions give, in their order; one after another where processes cannot be copied.

    Args:
        works: functions without arguments, which change nothing; what they give is sent back.
        together: how many a copy is given at a time.

    """
    if not possible() or len(works) < 2:
        yield from (work() for work in works)
        return
    _works[:] = works
    try:
        with multiprocessing.get_context(FORK).Pool(min(usable_cores(), len(works))) as processes:
            yield from (cast("T", found) for found in processes.imap(_at, range(len(works)), together))
    finally:
        _works.clear()


_works: list[Callable[[], Any]] = []
"""Those that a copy of this process finds."""


def _at(index: int) -> Any:
    return _works[index]()

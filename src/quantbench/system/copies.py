"""Work on what is in memory already, several pieces at a time, by copies of this process."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Generic, TypeVar

from quantbench.system.environment import usable_cores

T = TypeVar("T")
FORK = "fork"
"""A process that begins as a copy of this one need not be sent what it works on."""


def possible() -> bool:
    """Whether this system copies processes."""
    return FORK in multiprocessing.get_all_start_methods()


class Copy(Generic[T]):
    """A copy of this process, as it is now, that works while this one goes on; where it can be copied.

    Args:
        work: a function without arguments, which changes nothing; what it gives is sent back.

    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when the result is read
        context: Any = multiprocessing.get_context(FORK)
        self._process = context.Process(target=_write, args=(work, self._file), daemon=True)
        self._process.start()

    @property
    def at_work(self) -> bool:
        """Whether its result is still to come."""
        return bool(self._process.is_alive())

    def result(self) -> T:
        """What the function gives, waited for; found here if the copy was killed.

        Raises:
            Exception: what the function raises.

        """
        self._process.join()
        with self._file as file:
            if self._process.exitcode:
                return self._work()
            file.seek(0)
            value, error = pickle.load(file)  # noqa: S301 - written by a copy of this process
        if error is not None:
            raise error
        found: T = value
        return found


def results_of(works: Sequence[Callable[[], T]]) -> Iterator[T]:
    """What functions give, in their order; one after another where processes cannot be copied.

    Args:
        works: as :class:`Copy` takes one.

    """
    if not possible() or len(works) < 2:
        yield from (work() for work in works)
        return
    waiting, begun = deque(works), deque[Copy[T]]()
    while waiting or begun:
        while waiting and len(begun) < usable_cores():
            begun.append(Copy(waiting.popleft()))
        yield begun.popleft().result()


def _write(work: Callable[[], object], file: IO[bytes]) -> None:
    found: tuple[object, BaseException | None]
    try:
        found = work(), None
    except Exception as error:
        found = None, error
    pickle.dump(found, file, pickle.HIGHEST_PROTOCOL)
    file.flush()

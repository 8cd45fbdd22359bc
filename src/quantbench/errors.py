"""One tree of errors, and the exit codes of the programs that tell of them.

Every error that a user can cause derives from :class:`QuantbenchError`; a command prints its message without a
traceback and ends with one of the codes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3
EXIT_SLOWER = 4
EXIT_WORSE = 5
EXIT_SLOWER_AND_WORSE = 6
EXIT_UNLOADABLE = 7
EXIT_NOT_JUDGED = 8
EXIT_INTERRUPTED = 130


class QuantbenchError(Exception):
    """Base of all errors that quantbench raises on purpose."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with what the user gave.

    Attributes:
        where: where it stands: ``file:line``, or the option of the command line.
        message: what was set, what is wrong with it and what to do.

    """

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def by_line(mistake: Mistake) -> tuple[bool, int]:
    """Order of mistakes: by line, then those of the command line."""
    line = mistake.where.rpartition(":")[2]
    return mistake.where.startswith("--"), int(line) if line.isdecimal() else 0


class Interrupted(KeyboardInterrupt):
    """The user has stopped the work; the message says what is kept of it beside finished runs."""


class BadInput(QuantbenchError):
    """The input cannot be used. Holds every mistake that was found; nothing stays but what was finished before."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(dict.fromkeys(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class RunFailed(QuantbenchError):
    """One run cannot be finished; the others go on. The message becomes the reason on its row."""


class ArmFailed(RunFailed):
    """The process of a timed arm died, hung or could not load its model."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, with its class where the message alone says nothing."""
    text = str(error).strip()
    if not text or isinstance(error, LookupError):  # the message of these is a bare key
        return f"{type(error).__name__} {text}".strip()
    return text.splitlines()[0].rstrip(".")


def check_platform() -> None:
    """Refuse other systems than Linux, whose ways to pin processes and to read the CPU timing rests on.

    Raises:
        BadInput: if this is another system.

    """
    if sys.platform != "linux":
        message = "quantbench runs on Linux; on macOS and Windows run it in a container or in WSL"
        raise BadInput([Mistake(f"this system ({sys.platform})", message)])

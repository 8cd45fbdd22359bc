"""The machine: what it is, whether it is fit for timing, and what benchmarks keep on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.api._reporters import reporter
from quantbench.schema.results import Environment
from quantbench.system import cache
from quantbench.system import environment as machine
from quantbench.system.environment import cpus_used

if TYPE_CHECKING:
    from quantbench.pipeline.machine_check import Finding

__all__ = ["cache_folder", "cache_size", "check_machine", "clear_cache", "cpus_used", "environment"]


def environment() -> Environment:
    """CPU, instruction sets, usable cores, memory in bytes and library versions."""
    return machine.detect()


def check_machine(*, progress: bool = False) -> list[Finding]:
    """Whether this machine is fit for timing, by measuring for up to a minute; see the findings' ``advice``."""
    from quantbench.pipeline import machine_check

    return list(machine_check.findings(reporter(progress)))


def cache_folder() -> Path:
    """The folder of the work that benchmarks on this machine share: ``$QUANTBENCH_CACHE``, or the user's own.

    Raises:
        BadInput: if there is neither a name nor a home folder.

    """
    return cache.folder()


def cache_size() -> int:
    """Bytes of all that is kept in :func:`cache_folder`."""
    return cache.size(cache.folder())


def clear_cache(*, progress: bool = False) -> None:
    """Delete what is kept in :func:`cache_folder`; what is needed again is made again. Waits for those who use it.

    Raises:
        BadInput: if the folder is none that a benchmark has made; nothing is deleted then.

    """
    cache.clear(cache.folder(), reporter(progress))

"""The C library's allocator in timed processes: told to keep what is freed, or left as the user has set it.

glibc gives freed memory back to the system and takes it anew, in some processes on every call and in others hardly
ever, as blocks happen to lie: eager PyTorch, which frees every activation, then fetches between 700 and 3,400 pages per
call of the embedded model, and two processes of one checkpoint differ by 5 to 8 % for as long as they live. A service
that is tuned at all keeps its memory; so does what is timed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

LARGEST_FROM_HEAP = 32 * 2**20
"""Bytes from which on blocks are mapped by themselves: what glibc's own threshold grows to, mallopt(3)."""
KEPT = 2**30
"""Bytes at the end of the heap that are not given back."""
VARIABLES = {"MALLOC_MMAP_THRESHOLD_": str(LARGEST_FROM_HEAP), "MALLOC_TRIM_THRESHOLD_": str(KEPT)}
"""What glibc reads when a process starts, mallopt(3)."""
KEEPS, DEFAULT = "keeps freed memory", "default"
OTHERS = ("jemalloc", "mimalloc", "tcmalloc")
"""Allocators that are known to be put in the place of glibc's by ``LD_PRELOAD``."""


def of_timed() -> str:
    """How timed processes use memory: ``keeps freed memory``, ``set by`` variables of the user, or ``default``."""
    own = _set_by_user()
    if own:
        return f"set by {', '.join(own)}"
    return KEEPS if _is_glibc() else DEFAULT


def variables() -> Mapping[str, str]:
    """What timed processes find in their environment, besides what this one has."""
    return VARIABLES if of_timed() == KEEPS else {}


def _set_by_user() -> list[str]:
    tuned = ["GLIBC_TUNABLES"] if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") else []
    replaced = ["LD_PRELOAD"] if any(name in os.environ.get("LD_PRELOAD", "") for name in OTHERS) else []
    return [*replaced, *tuned, *sorted(name for name in os.environ if name.startswith("MALLOC_"))]


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False

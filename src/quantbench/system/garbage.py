"""Garbage that is not looked for while there is none, and memory that goes back once it is free."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for cycles of garbage, which takes half of the time where millions of tuples are held."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def give_back() -> None:
    """Give free memory back to the system. Of a model that is gone, glibc's allocator keeps as much as its weights.

    Does nothing where the C library has no ``malloc_trim`` (malloc_trim(3)).
    """
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)

"""What is computed of a record is computed once, for as long as the record lives.

Records are immutable, so that what follows from one never changes. A reader of results asks for the same figure in a
table, in a verdict and in another report; keeping it here spares all of them to hand it on.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from quantbench.schema.base import Record

R = TypeVar("R", bound=Record)
P = ParamSpec("P")
T = TypeVar("T")


def once(function: Callable[Concatenate[R, P], T]) -> Callable[Concatenate[R, P], T]:
    """Keep what a function gives for a record and, by place, further hashable arguments; the record is its identity."""
    kept: dict[int, dict[object, Any]] = {}

    @wraps(function)
    def wrapper(record: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        found = _of(record, kept)
        arguments = (args, tuple(sorted(kwargs.items())))
        if arguments not in found:
            found[arguments] = function(record, *args, **kwargs)
        value: T = found[arguments]
        return value

    _KEPT[wrapper] = kept
    return wrapper


def put(function: Callable[..., T], record: Record, args: tuple[object, ...], value: T) -> None:
    """Keep a value that was computed elsewhere, as if the function, one of :func:`once`, had given it by place."""
    _of(record, _KEPT[function])[args, ()] = value


def has(function: Callable[..., object], record: Record, args: tuple[object, ...]) -> bool:
    """Whether a value is kept, of a function of :func:`once` by place."""
    return (args, ()) in _KEPT[function].get(id(record), {})


_KEPT: dict[Callable[..., Any], dict[int, dict[object, Any]]] = {}


def _of(record: Record, kept: dict[int, dict[object, Any]]) -> dict[object, Any]:
    key = id(record)
    if key not in kept:
        kept[key] = {}
        weakref.finalize(record, kept.pop, key, None).atexit = False
    return kept[key]

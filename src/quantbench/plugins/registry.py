"""Plug-ins by name, each with the type of its kind; ``discovery`` finds them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import cast

from quantbench.discovery import KINDS, Kind, load, names
from quantbench.plugins.protocols import Exclusion, Launcher, Quantizer, Report, Runtime, Task

__all__ = [
    "KINDS",
    "LISTED",
    "Kind",
    "exclusion",
    "float_runtime",
    "launcher",
    "names",
    "quantizer",
    "quantizer_for",
    "report",
    "runtime",
    "task",
    "unknown_name",
]

LISTED = 8
"""Names that a message lists although it knows a near one; of more it names only the near one."""


def unknown_name(name: str, known: Iterable[str], what: str) -> str:
    """Message for a name that is not among the known ones."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    if near and len(choices) > LISTED:
        return f"unknown {what} {name!r}; did you mean {near[0]!r}?"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {name!r}; {hint}there is: {', '.join(choices)}"


def task(name: str) -> Task:
    """The task of that name."""
    return cast(Task, load("tasks", name))


def runtime(name: str) -> Runtime:
    """The runtime of that name."""
    return cast(Runtime, load("runtimes", name))


def float_runtime(name: str) -> str:
    """The runtime that runs the float ONNX export beside models of a runtime: itself, if that reads ONNX."""
    return runtime(name).FLOAT_RUNTIME


def quantizer(name: str) -> Quantizer:
    """The quantizer of that name."""
    return cast(Quantizer, load("quantizers", name))


def quantizer_for(framework: str, approach: str) -> Quantizer | None:
    """The quantizer that makes models of an approach for a runtime; None where that has no such models."""
    name = runtime(framework).QUANTIZERS.get(approach)
    return None if name is None else quantizer(name)


def exclusion(name: str) -> Exclusion:
    """The node-exclusion group of that name."""
    return cast(Exclusion, load("exclusions", name))


def launcher(name: str) -> Launcher:
    """The launcher of that name."""
    return cast(Launcher, load("launchers", name))


def report(name: str) -> Report:
    """The report of that name."""
    return cast(Report, load("reports", name))

"""The plug-in folders: what is in them, by file name.

A plug-in is a module. ``tasks/token_classification.py`` *is* the task ``token-classification``: names are listed from
the folder without importing anything, and only the one that is asked for is imported. Packages outside of this one
add plug-ins with entry points in the groups ``quantbench.tasks``, ``quantbench.runtimes`` and so on.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal, cast

from quantbench.plugins.protocols import Exclusion, Launcher, Report, Runtime, Task

Kind = Literal["tasks", "runtimes", "exclusions", "launchers", "reports"]
KINDS: tuple[Kind, ...] = ("tasks", "runtimes", "exclusions", "launchers", "reports")
LISTED = 8
"""Names that a message lists although it knows a near one; of more it names only the near one."""


@cache
def _entry_points(kind: Kind) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"quantbench.{kind}")}


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """Names of all plug-ins of a kind, sorted, without importing them."""
    folder = Path(__file__).parents[1] / kind
    found = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
    return tuple(sorted(found | set(_entry_points(kind))))


def unknown(kind: Kind, name: str, what: str) -> str | None:
    """A message if there is no such plug-in, with the nearest names that there are."""
    if name in names(kind):
        return None
    return unknown_name(name, names(kind), what)


def unknown_name(name: str, known: Iterable[str], what: str) -> str:
    """Message for a name that is not among the known ones."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    if near and len(choices) > LISTED:
        return f"unknown {what} {name!r}; did you mean {near[0]!r}?"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {name!r}; {hint}there is: {', '.join(choices)}"


@cache
def _load(kind: Kind, name: str) -> ModuleType:
    point = _entry_points(kind).get(name)
    return importlib.import_module(point or f"quantbench.{kind}.{name.replace('-', '_')}")


def task(name: str) -> Task:
    """The task of that name."""
    return cast(Task, _load("tasks", name))


def runtime(name: str) -> Runtime:
    """The runtime of that name."""
    return cast(Runtime, _load("runtimes", name))


def float_runtime(name: str) -> str:
    """The runtime that runs the float ONNX export beside models of a runtime: itself, or ONNX Runtime."""
    return name if any(file.endswith(".onnx") for file in runtime(name).FILES.values()) else "onnxruntime"


def exclusion(name: str) -> Exclusion:
    """The node-exclusion group of that name."""
    return cast(Exclusion, _load("exclusions", name))


def launcher(name: str) -> Launcher:
    """The launcher of that name."""
    return cast(Launcher, _load("launchers", name))


def report(name: str) -> Report:
    """The report of that name."""
    return cast(Report, _load("reports", name))

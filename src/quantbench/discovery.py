"""The plug-in folders: what is in them, by file name.

A plug-in is a module. ``tasks/token_classification.py`` *is* the task ``token-classification``: names are listed from
the folder without importing anything, and only the one that is asked for is imported. Packages outside of this one
add plug-ins with entry points in the groups ``quantbench.tasks``, ``quantbench.runtimes`` and so on.

This stands below all rooms, as what is recorded of a machine includes the libraries that plug-ins name; look-ups with
a type are those of ``plugins.registry``.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Literal

Kind = Literal["tasks", "runtimes", "quantizers", "exclusions", "launchers", "reports"]
KINDS: tuple[Kind, ...] = ("tasks", "runtimes", "quantizers", "exclusions", "launchers", "reports")
COMPUTING: tuple[Kind, ...] = ("runtimes", "quantizers")
"""Kinds whose libraries make models and run them, so that results depend on their versions."""


@cache
def _entry_points(kind: Kind) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"quantbench.{kind}")}


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """Names of all plug-ins of a kind, sorted, without importing them."""
    folder = Path(__file__).parent / kind
    found = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
    return tuple(sorted(found | set(_entry_points(kind))))


@cache
def load(kind: Kind, name: str) -> ModuleType:
    """The module of a plug-in.

    Raises:
        ImportError: if there is none of that name, or it cannot be imported.

    """
    point = _entry_points(kind).get(name)
    return importlib.import_module(point or f"quantbench.{kind}.{name.replace('-', '_')}")


def libraries() -> tuple[str, ...]:
    """Libraries that plug-ins of the kinds ``COMPUTING`` name, as they are imported, sorted; none is imported."""
    return tuple(
        sorted({library for kind in COMPUTING for name in names(kind) for library in load(kind, name).LIBRARIES})
    )


def version_of(library: str) -> str | None:
    """The version of a library by the name that pip knows, or that it is imported by; None if it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        distributions = _distributions().get(library, [])
        return version(distributions[0]) if distributions else None


@cache
def _distributions() -> dict[str, list[str]]:
    """Names that pip knows by the names that are imported: reads every package that is installed, so it is kept."""
    return dict(packages_distributions())

"""How far whole settings travel: which functions a run or its settings are handed to whole while it is executed.

A function that takes a part of the settings (``Sources``, ``Recipe`` …) or a plain value says what it depends on. One
that takes all of them does not, and has to be read. So the journey of the whole is how much of the package one must
read to follow a run.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import quantbench
from quantbench.schema.results import Run
from quantbench.schema.settings import Settings

PACKAGE = Path(quantbench.__file__).parent
CONTRACT = Path(__file__).parents[2] / "pyproject.toml"
WHOLE = ("Settings", "Run]", "Run")
"""Annotations of parameters that take all settings; of types that stand in them, as in ``Sequence[Run]``, the end."""


class Stay(NamedTuple):
    """Calls in one file after another, each function counted where it is entered first."""

    file: str
    functions: tuple[str, ...]


def follow(work: Callable[[], Any]) -> list[Stay]:
    """Where whole settings were handed to while ``work`` ran in this thread, in order."""
    entered: dict[tuple[str, str], None] = {}

    def seen(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(f"{PACKAGE}/") and _takes_whole(code, frame.f_locals):
            entered[(str(Path(code.co_filename).relative_to(PACKAGE)), code.co_qualname)] = None

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    stays: list[Stay] = []
    for file, function in entered:
        if stays and stays[-1].file == file:
            stays[-1] = Stay(file, (*stays[-1].functions, function))
        else:
            stays.append(Stay(file, (function,)))
    return stays


def climbs(stays: list[Stay]) -> int:
    """Moves from one file to another that stands on a higher floor of the import contract."""
    floors = _floors()
    return sum(floors[_room(after)] > floors[_room(before)] for before, after in pairwise(stays))


def _takes_whole(code: CodeType, values: dict[str, Any]) -> bool:
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    handed = [name for name in names if name != "self" and _is_whole(values.get(name))]
    if not handed or "<" in code.co_qualname:
        return False
    function: Any = inspect.getmodule(code)
    for name in code.co_qualname.split("."):
        function = getattr(function, name)
    annotations = inspect.unwrap(function).__annotations__
    return any(str(annotations[name]).endswith(WHOLE) for name in handed)


def _is_whole(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(item, Run) for item in value)
    return isinstance(value, Run | Settings)


def _floors() -> dict[str, int]:
    (contract,) = [
        found
        for found in tomllib.loads(CONTRACT.read_text())["tool"]["importlinter"]["contracts"]
        if found["type"] == "layers"
    ]
    lines = [line.replace(":", "|").split("|") for line in contract["layers"]]
    return {room.strip(): -number for number, line in enumerate(lines) for room in line}


def _room(stay: Stay) -> str:
    return stay.file.split("/")[0].removesuffix(".py")

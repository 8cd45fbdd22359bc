"""Configurations, from a file or from Python; the rules and the messages are the same for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from quantbench import embedded
from quantbench.config import load, paths
from quantbench.errors import BadInput, Mistake
from quantbench.schema.settings import Config

SOURCE = "qb.config"
"""Where a mistake stands that is in no file."""
OVERRIDE = "--set "


def load_config(path: str | Path, *, set: Mapping[str, Any] | Sequence[str] | None = None, **overrides: Any) -> Config:
    """Read a configuration file; the word ``demo`` stands for that of the embedded model and data set.

    Args:
        path: the YAML file.
        set: parameters to override by their dotted keys, ``{"time_benchmark_args.duration": 5}``; or as texts, which
            is what the command line gives: ``["time_benchmark_args.duration=5"]``. A parameter that is benchmarked
            becomes fixed by it, and a key ``benchmarked.KEY`` with a list of values does the opposite.
        **overrides: parameters to override that need no dots, ``per_channel=True``.

    Raises:
        BadInput: with every mistake in the file and the overrides.

    """
    file = embedded.CONFIG if str(path) == embedded.NAME else Path(path)
    if set is not None and not isinstance(set, Mapping):
        return load.load_config(file, [*override_texts(set), *_texts(overrides)])
    texts = _texts({**(set or {}), **overrides})
    try:
        found = load.load_config(file, texts)
    except BadInput as error:
        named = [Mistake(mistake.where.removeprefix(OVERRIDE), mistake.message) for mistake in error.mistakes]
        raise BadInput(named) from None
    return found.model_copy(update={"lines": {key: at.removeprefix(OVERRIDE) for key, at in found.lines.items()}})


def config(**parameters: Any) -> Config:
    """A configuration made in Python, by the names and rules of a file.

    Args:
        **parameters: as the keys of a file: ``task``, ``model_name_or_path`` and ``dataset`` must be there,
            ``benchmarked`` maps parameters to lists of values. Relative paths belong to the working directory.

    Raises:
        BadInput: with every mistake.

    """
    lines = {name: f"{SOURCE}({name})" for name in parameters}
    made = load.build_config({name: _plain(value) for name, value in parameters.items()}, lines, SOURCE)
    return made.model_copy(update={"places": paths.found(made, Path.cwd(), {})})


def override_texts(given: Mapping[str, Any] | Sequence[str] | None) -> list[str]:
    """Overrides in any of the forms that ``set`` takes, as the command line has them.

    Raises:
        BadInput: if a value is none that YAML has.

    """
    if given is None or isinstance(given, str):
        return [given] if given else []
    return _texts(given) if isinstance(given, Mapping) else list(given)


def _texts(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as the command line has them, values as YAML on one line."""
    texts, mistakes = [], []
    for key, value in overrides.items():
        try:
            text = yaml.safe_dump(_plain(value), default_flow_style=True, width=float("inf"), allow_unicode=True)
        except yaml.YAMLError:
            mistakes.append(Mistake(key, f"is a {type(value).__name__}; must be text, a number, a list or a mapping"))
        else:
            texts.append(f"{key}={text.removesuffix(chr(10)).removesuffix('...').rstrip()}")
    if mistakes:
        raise BadInput(mistakes)
    return texts


def _plain(value: Any) -> Any:
    """What Python has more kinds of than YAML: tuples are lists, paths are texts."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value

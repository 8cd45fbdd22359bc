"""What ``--set`` changes in a configuration before it is validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantbench.config.keys import GRID_KEY, is_parameter, replaced, unknown_key, without
from quantbench.config.yaml_lines import parse_value
from quantbench.errors import Mistake

OPTION = "--set "


def applied(
    data: dict[str, Any], lines: dict[str, str], overrides: Sequence[str]
) -> tuple[dict[str, Any], list[Mistake]]:
    """Plain data with every ``key=value`` applied that can be, and mistakes in the others.

    Args:
        data: the configuration as written, short forms spelled out.
        lines: where its keys stand; changed in place.
        overrides: texts as given to ``--set``.

    """
    mistakes = []
    for override in overrides:
        try:
            data = _overridden(data, lines, override)
        except ValueError as error:
            mistakes.append(Mistake(f"{OPTION}{override}", str(error)))
    return data, mistakes


def _overridden(data: dict[str, Any], lines: dict[str, str], override: str) -> dict[str, Any]:
    """The data and, in place, the lines with one ``key=value`` applied.

    Raises:
        ValueError: if it is not of that form, its key is unknown or its value is not YAML.

    """
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ValueError("must be KEY=VALUE, such as per_channel=true")
    try:
        value = parse_value(text)
    except ValueError as error:
        raise ValueError(f"the value is not valid YAML: {error}") from error
    name = key.removeprefix(f"{GRID_KEY}.")
    if key != GRID_KEY and not is_parameter(name):
        raise ValueError(unknown_key(name))
    for line in [line for line in lines if line == key or line.startswith(f"{key}.")]:
        del lines[line]
    lines[key] = f"{OPTION}{override}"
    if key == GRID_KEY:
        return {**data, GRID_KEY: value}
    grid = data.get(GRID_KEY)
    grid = {} if grid is None else grid
    if name == key:
        data = replaced(data, key, value)
        kept = {k: v for k, v in grid.items() if k != key} if isinstance(grid, Mapping) else grid
    else:
        data = without(data, name)
        kept = {**grid, name: value} if isinstance(grid, Mapping) else grid
    return {**data, GRID_KEY: kept} if kept else {k: v for k, v in data.items() if k != GRID_KEY}

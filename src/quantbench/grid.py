"""The grid: dotted keys, and every combination of the benchmarked parameters as settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from quantbench.records import Config, Settings


def replaced(data: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of nested mappings with the dotted ``key`` set; missing mappings on the way are made."""
    head, _, rest = key.partition(".")
    copy = dict(data)
    if not rest:
        copy[head] = value
        return copy
    inner = copy.get(head)
    copy[head] = replaced(inner if isinstance(inner, Mapping) else {}, rest, value)
    return copy


def without(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A copy of nested mappings without the dotted ``key``."""
    head, _, rest = key.partition(".")
    if not rest:
        return {name: value for name, value in data.items() if name != head}
    return {**data, head: without(data[head], rest)}


def lookup(data: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key.

    Raises:
        KeyError: if there is none.

    """
    value: Any = data
    for part in key.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(key)
        value = value[part]
    return value


def combinations(config: Config) -> Iterator[tuple[dict[str, JsonValue], Settings]]:
    """Every combination of the grid, the last benchmarked parameter varying fastest, with its full settings."""
    base = config.base.model_dump(mode="json")
    keys = [dimension.key for dimension in config.dimensions]
    for values in itertools.product(*(dimension.values for dimension in config.dimensions)):
        data = base
        for key, value in zip(keys, values, strict=True):
            data = replaced(data, key, value)
        yield dict(zip(keys, values, strict=True)), Settings.model_validate(data)

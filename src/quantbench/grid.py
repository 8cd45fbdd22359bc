"""The grid: dotted keys, and every combination of the benchmarked parameters as settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, JsonValue

from quantbench.registry import unknown_name
from quantbench.settings import Config, Settings

GRID_KEY = "benchmarked"


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
    """A copy of nested mappings without the dotted ``key``, or without what stands in place of a mapping above it."""
    head, _, rest = key.partition(".")
    inner = data.get(head)
    if rest and isinstance(inner, Mapping):
        return {**data, head: without(inner, rest)}
    return {name: value for name, value in data.items() if name != head}


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


def has(data: Mapping[str, Any], key: str) -> bool:
    """Whether there is a value at a dotted key."""
    try:
        lookup(data, key)
    except KeyError:
        return False
    return True


def overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one stands inside of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def is_parameter(key: str) -> bool:
    """Whether a dotted key names a parameter of the settings, or something inside of a free mapping."""
    model: type[BaseModel] | None = Settings
    field: Any = None
    for part in key.split("."):
        if model is None:
            return "dict" in str(field.annotation) and bool(part)
        field = model.model_fields.get(part)
        if field is None:
            return False
        model = _model_of(field)
    return True


def known_keys(prefix: str) -> list[str]:
    """Dotted keys of the parameters directly below a prefix; none where there can be none."""
    model: type[BaseModel] | None = Settings
    for part in [part for part in prefix.split(".") if part]:
        field = model.model_fields.get(part) if model is not None else None
        model = _model_of(field) if field is not None else None
    if model is None:
        return []
    return [f"{prefix}.{key}" for key in model.model_fields] if prefix else [*model.model_fields, GRID_KEY]


def unknown_key(key: str) -> str:
    """Message for a dotted key that names no parameter, with the nearest that does."""
    prefix = key.rpartition(".")[0]
    return unknown_name(key, known_keys(prefix) or known_keys(""), "key")


def _model_of(field: Any) -> type[BaseModel] | None:
    annotation = field.annotation
    is_model = isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def combinations(config: Config) -> Iterator[tuple[dict[str, JsonValue], Settings]]:
    """Every combination of the grid, the last benchmarked parameter varying fastest, with its full settings."""
    base = config.base.model_dump(mode="json")
    keys = [dimension.key for dimension in config.dimensions]
    for values in itertools.product(*(dimension.values for dimension in config.dimensions)):
        data = base
        for key, value in zip(keys, values, strict=True):
            data = replaced(data, key, value)
        yield dict(zip(keys, values, strict=True)), Settings.model_validate(data)

"""The grid: dotted keys, and every combination of the benchmarked parameters as settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, JsonValue

from quantbench.plugins.registry import unknown_name
from quantbench.schema.settings import Config, Settings

GRID_KEY = "benchmarked"


def parts(key: str) -> tuple[str, ...]:
    """The names that a dotted key is made of, from the outermost.

    Names inside of a free mapping may have dots, as those of exported nodes do: all that follows is one name, or, where
    values may be mappings themselves, a name and one inside of it.
    """
    model: type[BaseModel] | None = Settings
    names = key.split(".")
    for index, name in enumerate(names, start=1):
        field = model.model_fields.get(name) if model is not None else None
        if field is None:
            return tuple(names)
        depth = _free_names(field)
        if depth and names[index:]:
            return (*names[:index], *".".join(names[index:]).split(".", depth - 1))
        model = _model_of(field)
    return tuple(names)


def replaced(data: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of nested mappings with the dotted ``key`` set; missing mappings on the way are made."""
    return _replaced(data, parts(key), value)


def _replaced(data: Mapping[str, Any], names: Sequence[str], value: Any) -> dict[str, Any]:
    head, *rest = names
    inner = data.get(head)
    new = _replaced(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value
    return {**data, head: new}


def without(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A copy of nested mappings without the dotted ``key``, or without what stands in place of a mapping above it."""
    return _without(data, parts(key))


def _without(data: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    head, *rest = names
    inner = data.get(head)
    if rest and isinstance(inner, Mapping):
        return {**data, head: _without(inner, rest)}
    return {name: value for name, value in data.items() if name != head}


def lookup(data: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key.

    Raises:
        KeyError: if there is none.

    """
    value: Any = data
    for part in parts(key):
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
    return all(first == second for first, second in zip(parts(one), parts(other), strict=False))


def is_parameter(key: str) -> bool:
    """Whether a dotted key names a parameter of the settings, or something inside of a free mapping."""
    model: type[BaseModel] | None = Settings
    field: Any = None
    for part in parts(key):
        if model is None:
            return bool(_free_names(field) and part)
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


def _free_names(field: Any) -> int:
    """How deep names of the user's own may stand inside of a parameter: 0 where it is no free mapping."""
    if get_origin(field.annotation) is not dict:
        return 0
    return 2 if get_args(field.annotation)[1] is JsonValue else 1


def combinations(config: Config) -> Iterator[tuple[dict[str, JsonValue], Settings]]:
    """Every combination of the grid, the last benchmarked parameter varying fastest, with its full settings."""
    base = config.base.model_dump(mode="json")
    keys = [dimension.key for dimension in config.dimensions]
    for values in itertools.product(*(dimension.values for dimension in config.dimensions)):
        data = base
        for key, value in zip(keys, values, strict=True):
            data = replaced(data, key, value)
        yield dict(zip(keys, values, strict=True)), Settings.model_validate(data)

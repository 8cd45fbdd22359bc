"""The grid: dotted keys, and every combination of the benchmarked parameters as settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic_core import ErrorDetails

from quantbench.config.yaml_lines import wrong_value
from quantbench.plugins import options
from quantbench.plugins.registry import unknown_name
from quantbench.schema.settings import Config, Settings

GRID_KEY = "benchmarked"
REQUIRED = {"task": "token-classification", "model_name_or_path": "demo", "dataset.path": "demo"}
"""Parameters without a default, and an example of each."""


@lru_cache(maxsize=1024)
def parts(key: str) -> tuple[str, ...]:
    """The names that a dotted key is made of, from the outermost.

    Names inside of a free mapping may have dots, as those of exported nodes do: all that follows is one name, or, where
    values may be mappings themselves, a name and one inside of it.
    """
    fields: list[Any] = []
    names = key.split(".")
    for index, name in enumerate(names, start=1):
        fields = _fields(_models(fields) if fields else [Settings], name)
        if not fields:
            return tuple(names)
        depth = max(map(_free_names, fields))
        if depth and names[index:]:
            return (*names[:index], *".".join(names[index:]).split(".", depth - 1))
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
    models: Sequence[type[BaseModel]] = [Settings]
    fields: list[Any] = []
    for part in parts(key):
        if not models:
            return bool(part) and any(map(_free_names, fields))
        fields = _fields(models, part)
        if not fields:
            return False
        models = _models(fields)
    return True


def known_keys(prefix: str) -> list[str]:
    """Dotted keys of the parameters directly below a prefix; none where there can be none."""
    models: Sequence[type[BaseModel]] = [Settings]
    for part in [part for part in prefix.split(".") if part]:
        models = _models(_fields(models, part))
    names = list(dict.fromkeys(name for model in models for name in model.model_fields))
    return [f"{prefix}.{name}" for name in names] if prefix else [*names, GRID_KEY]


def unknown_key(key: str) -> str:
    """Message for a dotted key that names no parameter, with the nearest that does."""
    prefix = key.rpartition(".")[0]
    return unknown_name(key, known_keys(prefix) or known_keys(""), "key")


def explained(key: str, detail: ErrorDetails) -> str:
    """A pydantic error at a dotted key in the words of the user's file."""
    if detail["type"] == "extra_forbidden":
        return unknown_key(key)
    if detail["type"] == "missing":
        example = REQUIRED.get(key) or REQUIRED.get(f"{key}.path")
        return f"{key} is missing; it has no default, set it" + (f", such as {key}: {example}" if example else "")
    return f"{key} {wrong_value(detail)}"


def _fields(models: Iterable[type[BaseModel]], name: str) -> list[Any]:
    """The fields of that name: one, or those of several plug-ins that have such an option."""
    return [model.model_fields[name] for model in models if name in model.model_fields]


def _models(fields: Iterable[Any]) -> list[type[BaseModel]]:
    """The records that fields hold, and those of the plug-ins where it is options that they hold."""
    held = [field.annotation for field in fields]
    records = [kind for kind in held if isinstance(kind, type) and not get_args(kind) and issubclass(kind, BaseModel)]
    return list(dict.fromkeys(one for record in records for one in options.models(record)))


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
        yield dict(zip(keys, values, strict=True)), options.completed(Settings.model_validate(data))

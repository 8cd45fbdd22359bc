"""YAML to Config. All of the user's mistakes at once, each with its file and line.

Nothing here touches the network, the model or the data; what depends on those is checked in ``preflight``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from quantbench import registry, rules
from quantbench.errors import BadInput, Mistake
from quantbench.grid import combinations, lookup, replaced, without
from quantbench.positions import parse_value, read_yaml
from quantbench.records import Config, Dimension, Settings

GRID_KEY = "benchmarked"
MAX_COMBINATIONS = 10_000
DEMO_KEYS = {"data_keys": {"primary": "tokens"}, "ref_keys": ["ner_tags"], "eval_split": "test"}


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Args:
        path: the YAML file.
        overrides: ``key=value`` texts as given to ``--set``; dotted keys, values as in YAML.

    Raises:
        BadInput: with every mistake in the file and the overrides.

    """
    data, lines = read_yaml(path)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise BadInput([Mistake(f"--set {override}", "must be key=value, such as per_channel=true")])
        data = _drop_from_grid(replaced(data, key, parse_value(text)), key)
        for line in [name for name in lines if name == key or name.startswith(f"{key}.")]:
            del lines[line]
        lines[key] = f"--set {override}"
    return build_config(data, lines, str(path))


def build_config(data: Mapping[str, Any], lines: Mapping[str, str], source: str) -> Config:
    """Validate plain data as a configuration; ``lines`` and ``source`` are for messages.

    Raises:
        BadInput: with every mistake that was found.

    """
    builder = _Builder(data, lines, source)
    config = builder.build()
    if builder.mistakes or config is None:
        raise BadInput(builder.mistakes)
    return config


def dump_config(config: Config) -> str:
    """A configuration as YAML that :func:`load_config` reads back to an equal one, every default spelled out."""
    data = config.base.model_dump(mode="json")
    for dimension in config.dimensions:
        data = without(data, dimension.key)
    if config.dimensions:
        data[GRID_KEY] = {dimension.key: list(dimension.values) for dimension in config.dimensions}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _drop_from_grid(data: dict[str, Any], key: str) -> dict[str, Any]:
    grid = data.get(GRID_KEY)
    if isinstance(grid, Mapping) and key in grid:
        rest = {name: values for name, values in grid.items() if name != key}
        data = {**data, GRID_KEY: rest} if rest else {name: v for name, v in data.items() if name != GRID_KEY}
    return data


class _Builder:
    """Collects mistakes on the way from data to Config."""

    def __init__(self, data: Mapping[str, Any], lines: Mapping[str, str], source: str) -> None:
        self.fixed = {key: value for key, value in data.items() if key != GRID_KEY}
        self.grid = data.get(GRID_KEY, {})
        self.lines = dict(lines)
        self.source = source
        self.mistakes: list[Mistake] = []

    def build(self) -> Config | None:
        self._grid()
        base_data = self._with_demo_keys(self._first_values())
        self._values(base_data)
        if self.mistakes:
            return None
        dimensions = tuple(Dimension(key=key, values=tuple(values)) for key, values in self.grid.items())
        base = Settings.model_validate(base_data)
        config = Config(base=base, dimensions=dimensions, source=self.source, lines=self.lines)
        self._names(config)
        self._rules(config)
        return config

    def _add(self, key: str, message: str) -> None:
        self.mistakes.append(Mistake(self._where(key), message))

    def _where(self, key: str) -> str:
        while key and key != GRID_KEY:
            if key in self.lines:
                return self.lines[key]
            key = key.rpartition(".")[0]
        return self.source

    def _grid(self) -> None:
        """What stands under ``benchmarked`` must be a mapping of known keys to lists of values."""
        if not isinstance(self.grid, Mapping):
            self._add(GRID_KEY, "benchmarked must map parameters to lists of values")
            self.grid = {}
        grid = dict(self.grid)
        for key, values in grid.items():
            path = f"{GRID_KEY}.{key}"
            if not isinstance(key, str) or _field(key) is None:
                self._add(path, _unknown_key(str(key)))
            elif not isinstance(values, list) or not values:
                self._add(path, f"{key} under benchmarked must be a list of at least one value, not {values!r}")
            elif _has(self.fixed, key):
                self._add(path, f"{key} is fixed (at {self._where(key)}) and benchmarked; keep one of them")
            elif len(values) != len({repr(value) for value in values}):
                self._add(path, f"{key} has a value twice under benchmarked; keep one of them")
            else:
                continue
            self.grid = {name: kept for name, kept in self.grid.items() if name != key}
        size = 1
        for values in self.grid.values():
            size *= len(values)
        if size > MAX_COMBINATIONS:
            self._add(GRID_KEY, f"{size} combinations; at most {MAX_COMBINATIONS} are planned at once")

    def _first_values(self) -> dict[str, Any]:
        data = dict(self.fixed)
        for key, values in self.grid.items():
            data = replaced(data, key, values[0])
        return data

    def _with_demo_keys(self, data: dict[str, Any]) -> dict[str, Any]:
        """The embedded data set knows its own columns."""
        dataset = data.get("dataset")
        if dataset == "demo":
            dataset = {"path": "demo"}
        if isinstance(dataset, Mapping) and dataset.get("path") == "demo":
            return {**data, "dataset": {**DEMO_KEYS, **dataset}}
        return data

    def _values(self, base: dict[str, Any]) -> None:
        """Validate the settings once with the first values, then with every other value put in its place."""
        self._validate(base, {key: f"{GRID_KEY}.{key}.0" for key in self.grid})
        seen = set(self.mistakes)
        for key, values in self.grid.items():
            for index, value in enumerate(values[1:], start=1):
                places = {key: f"{GRID_KEY}.{key}.{index}"}
                self._validate(replaced(base, key, value), places, only=key)
        self.mistakes = [*dict.fromkeys(self.mistakes)] if seen else self.mistakes

    def _validate(self, data: dict[str, Any], places: Mapping[str, str], only: str | None = None) -> None:
        try:
            Settings.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                key = ".".join(str(part) for part in detail["loc"])
                if only is not None and not (key + ".").startswith(only + "."):
                    continue
                place = next((p for k, p in places.items() if (key + ".").startswith(k + ".")), key)
                self._add(place, _explain(key, detail))

    def _names(self, config: Config) -> None:
        """Names of plug-ins, metrics and operators must be known, wherever a value of theirs stands."""
        for key, what, kind in _PLUGIN_KEYS:
            for place, value in self._values_of(config, key):
                for name in value if isinstance(value, list) else [value]:
                    message = registry.unknown(kind, _bare(name), what)
                    if message:
                        self._add(place, message)
        if self.mistakes:
            return
        for place, value in self._values_of(config, "metrics"):
            known = registry.task(config.base.task).METRICS
            for name in value:
                if name not in known:
                    self._add(place, registry.unknown_name(name, known, f"metric of {config.base.task}"))
        operators = registry.runtime(config.base.framework).OPERATORS
        known_operators = {name for names in operators.values() for name in names}
        for place, value in self._values_of(config, "operators_to_quantize"):
            for name in value:
                if name not in known_operators:
                    self._add(place, registry.unknown_name(name, known_operators, "operator"))

    def _values_of(self, config: Config, key: str) -> Iterator[tuple[str, Any]]:
        if key in self.grid:
            for index, value in enumerate(self.grid[key]):
                yield f"{GRID_KEY}.{key}.{index}", value
        else:
            yield key, lookup(config.base.model_dump(mode="json"), key)

    def _rules(self, config: Config) -> None:
        """A broken rule is a mistake if some value can then never run; otherwise the combination is skipped."""
        if self.mistakes:
            return
        runnable: set[tuple[str, str]] = set()
        broken: list[tuple[dict[str, Any], rules.Rule, str]] = []
        for values, settings in combinations(config):
            found = rules.broken(settings)
            broken += [(values, rule, message) for rule, message in found]
            if not found:
                runnable |= {(key, repr(value)) for key, value in values.items()}
        for values, rule, message in broken:
            involved = [key for key in rule.keys if key in values]
            dead = [key for key in involved if (key, repr(values[key])) not in runnable]
            if dead:
                index = self.grid[dead[0]].index(values[dead[0]])
                self._add(f"{GRID_KEY}.{dead[0]}.{index}", message)
            elif not involved:
                self._add(rule.keys[0], message)
        self.mistakes = list(dict.fromkeys(self.mistakes))


_PLUGIN_KEYS: tuple[tuple[str, str, registry.Kind], ...] = (
    ("task", "task", "tasks"),
    ("framework", "framework", "runtimes"),
    ("backend.name", "backend", "launchers"),
    ("node_exclusion", "node-exclusion group", "exclusions"),
)


def _bare(name: str) -> str:
    """A group's name without the mark ``?`` that makes it optional."""
    return name.removesuffix("?")


def _field(key: str) -> Any:
    """The pydantic field at a dotted key of the settings, if there is one."""
    model: type[BaseModel] | None = Settings
    field: Any = None
    for part in key.split("."):
        if model is None:
            return field if field is not None and "dict" in str(field.annotation) else None
        field = model.model_fields.get(part)
        if field is None:
            return None
        model = field.annotation if isinstance(field.annotation, type) and _is_model(field.annotation) else None
    return field


def _is_model(annotation: type) -> bool:
    return not get_args(annotation) and issubclass(annotation, BaseModel)


def _has(data: Mapping[str, Any], key: str) -> bool:
    try:
        lookup(data, key)
    except KeyError:
        return False
    return True


def _known_keys(prefix: str) -> list[str]:
    model: Any = Settings
    for part in [part for part in prefix.split(".") if part]:
        field = model.model_fields.get(part)
        model = field.annotation if field is not None else None
        if model is None or not isinstance(model, type) or not _is_model(model):
            return []
    keys = list(model.model_fields)
    return [f"{prefix}.{key}" for key in keys] if prefix else [*keys, GRID_KEY]


def _unknown_key(key: str) -> str:
    prefix = key.rpartition(".")[0]
    return registry.unknown_name(key, _known_keys(prefix) or _known_keys(""), "key")


def _explain(key: str, detail: ErrorDetails) -> str:
    """A pydantic error in the words of the user's file."""
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown_key(key)
    if kind == "missing":
        return f"{key} is missing; it has no default"
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{key} is {value!r}: {message.replace('valid tuple', 'list').replace('valid dictionary', 'mapping')}"

"""YAML to Config. All of the user's mistakes at once, each with its file and line.

Nothing here touches the network, the model or the data; what depends on those is checked in ``preflight``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from quantbench.config import paths, rules
from quantbench.config.keys import (
    GRID_KEY,
    REQUIRED,
    combinations,
    explained,
    has,
    is_parameter,
    known_keys,
    lookup,
    overlap,
    replaced,
    unknown_key,
    without,
)
from quantbench.config.overrides import applied
from quantbench.config.values import wrong
from quantbench.config.yaml_lines import not_plain, read_yaml, shown
from quantbench.errors import BadInput, Mistake, by_line
from quantbench.plugins import protocols, registry
from quantbench.plugins.options import PLACES, completed
from quantbench.schema.base import canonical_json
from quantbench.schema.settings import Config, Dimension, Settings

MAX_COMBINATIONS = 10_000
DEMO_KEYS = {"data_keys": {"primary": "tokens"}, "ref_keys": ["ner_tags"], "eval_split": "test"}
_PLUGIN_KEYS: tuple[tuple[str, str, registry.Kind], ...] = (
    ("task", "task", "tasks"),
    ("framework", "framework", "runtimes"),
    ("backend.name", "backend", "launchers"),
    ("node_exclusion", "node-exclusion group", "exclusions"),
)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Args:
        path: the YAML file.
        overrides: ``key=value`` texts as given to ``--set``; dotted keys, values as in YAML. A parameter that was
            benchmarked becomes fixed by it; ``benchmarked.key=[…]`` does the opposite.

    Raises:
        BadInput: with every mistake in the file and the overrides.

    """
    data, lines, mistakes = read_yaml(path)
    known = data.pop(paths.KEY, {})
    mistakes += paths.mistakes(known, lines.get(paths.KEY, str(path)))
    data, wrong_overrides = applied(_expanded(data), lines, overrides)
    mistakes += wrong_overrides
    config = build_config(data, lines, str(path), mistakes)
    return config.model_copy(update={"places": paths.found(config, path.absolute().parent, known)})


def build_config(
    data: Mapping[str, Any], lines: Mapping[str, str], source: str, mistakes: Sequence[Mistake] = ()
) -> Config:
    """Validate plain data as a configuration; ``lines`` and ``source`` are for messages.

    Raises:
        BadInput: with every mistake that was found, after those given in ``mistakes``.

    """
    builder = _Builder(_expanded(data), lines, source, mistakes)
    config = builder.build()
    if builder.mistakes or config is None:
        raise BadInput(builder.mistakes)
    return config


def dump_config(config: Config) -> str:
    """A configuration as YAML that :func:`load_config` reads back to an equal one, every default spelled out.

    Relative paths stay as they are written; where what they name lies now stands beside them in full, so that the text
    can be read from anywhere.
    """
    data = config.base.model_dump(mode="json")
    for dimension in config.dimensions:
        data = without(data, dimension.key)
    if config.dimensions:
        data[GRID_KEY] = {dimension.key: list(dimension.values) for dimension in config.dimensions}
    if places := paths.in_full(config):
        data[paths.KEY] = places
    return yaml.safe_dump(
        data, sort_keys=False
    )  # unicode is escaped: PyYAML writes some characters that it cannot read


def _expanded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Short forms written out: a data set or a backend by its name alone, and the embedded data set's own columns."""
    data = dict(data)
    if isinstance(data.get("backend"), str):
        data["backend"] = {"name": data["backend"]}
    grid = data.get(GRID_KEY)
    if "dataset" in data:
        data["dataset"] = _expanded_dataset(data["dataset"], grid if isinstance(grid, Mapping) else ())
    if isinstance(grid, Mapping) and isinstance(grid.get("backend"), list):
        grid = {**grid, "backend": [{"name": value} if isinstance(value, str) else value for value in grid["backend"]]}
        data[GRID_KEY] = grid
    if isinstance(grid, Mapping) and isinstance(grid.get("dataset"), list):
        data[GRID_KEY] = {**grid, "dataset": [_expanded_dataset(value) for value in grid["dataset"]]}
    return data


def _expanded_dataset(dataset: Any, benchmarked: Collection[Any] = ()) -> Any:
    dataset = {"path": dataset} if isinstance(dataset, str) else dataset
    if not isinstance(dataset, Mapping) or dataset.get("path") != "demo":
        return dataset
    free = {k: v for k, v in DEMO_KEYS.items() if not any(overlap(f"dataset.{k}", str(key)) for key in benchmarked)}
    return {**free, **dataset}


class _Builder:
    """Collects mistakes on the way from data to Config.

    ``grid`` maps each benchmarked key to its values by their place in the list. Values with a mistake are taken out,
    so that what is left can still be checked; ``bad`` are the keys of those mistakes.
    """

    def __init__(
        self, data: Mapping[str, Any], lines: Mapping[str, str], source: str, mistakes: Sequence[Mistake]
    ) -> None:
        self.fixed = {key: value for key, value in data.items() if key != GRID_KEY}
        self.given_grid = data.get(GRID_KEY, {})
        self.grid: dict[str, dict[int, Any]] = {}
        self.lines = dict(lines)
        self.source = source
        self.mistakes = list(mistakes)
        self.bad: set[str] = set()

    def build(self) -> Config | None:
        """The configuration, or None where even its sound parts make none."""
        self._plain()
        self._grid()
        self._values()
        self._names()
        config = self._config()
        if config is not None:
            self._rules(config)
            self._repetitions(config)
        self.mistakes = sorted(dict.fromkeys(self.mistakes), key=by_line)
        return config

    def _add(self, key: str, message: str, place: str | None = None) -> None:
        self.mistakes.append(Mistake(self._where(place or key), message))
        self.bad.add(key)

    def _where(self, key: str) -> str:
        while key:
            if key in self.lines:
                return self.lines[key]
            key = key.rpartition(".")[0]
        return self.source

    def _drop(self, key: str, index: int) -> None:
        self.grid[key].pop(index, None)
        if not self.grid[key]:
            del self.grid[key]

    def _plain(self) -> None:
        """Leave out what is no text, number, list or mapping; the grid loses the whole parameter."""
        names = [str(name) for name in self.given_grid] if isinstance(self.given_grid, Mapping) else []
        for key, place, problem in not_plain({**self.fixed, GRID_KEY: self.given_grid}):
            inner = key.removeprefix(f"{GRID_KEY}.")
            within = [name for name in names if inner != key and f"{inner}.".startswith(f"{name}.")]
            name = max(within, key=len, default=None)
            self._add(name or inner, f"{place} {problem}", place)
            if name:
                self.given_grid = {n: values for n, values in self.given_grid.items() if str(n) != name}
            else:
                self.fixed = without(self.fixed, inner)
        self.fixed = {name: value for name, value in self.fixed.items() if isinstance(name, str)}
        if isinstance(self.given_grid, Mapping):
            self.given_grid = {name: values for name, values in self.given_grid.items() if isinstance(name, str)}

    def _grid(self) -> None:
        """What stands under ``benchmarked`` must be a mapping of known keys to lists of values."""
        if not isinstance(self.given_grid, Mapping):
            self._add(GRID_KEY, f"{GRID_KEY} is {shown(self.given_grid)}; must map parameters to lists of values")
            return
        for key, values in self.given_grid.items():
            problem = self._dimension_problem(key, values)
            if problem:
                self._add(key, problem, f"{GRID_KEY}.{key}")
            else:
                self.grid[key] = dict(enumerate(values))
        size = 1
        for values in self.grid.values():
            size *= len(values)
        if size > MAX_COMBINATIONS:
            self._add(GRID_KEY, f"{size:,} combinations; at most {MAX_COMBINATIONS:,} are planned at once")
            self.bad.update(self.grid)
            self.grid = {}

    def _dimension_problem(self, key: str, values: Any) -> str | None:
        if not is_parameter(key):
            self._meant(key)
            return unknown_key(key)
        if isinstance(values, Mapping) and known_keys(key):
            return f"{key} under {GRID_KEY} must be a list of values; for a part of it write {key}.<name>: [value, …]"
        if not isinstance(values, list) or not values:
            return f"{key} under {GRID_KEY} is {shown(values)}; must be a list of at least one value to try"
        if has(self.fixed, key):
            return f"{key} is fixed (at {self._where(key)}) and benchmarked; keep one of them"
        head = key.partition(".")[0]
        if head != key and not isinstance(self.fixed.get(head, {}), Mapping):
            return f"{key} is benchmarked, but {head} is {shown(self.fixed[head])}; make that a mapping"
        other = next((name for name in self.grid if overlap(name, key)), None)
        return f"{key} and {other} are both benchmarked, one is part of the other; keep one of them" if other else None

    def _base(self) -> dict[str, Any]:
        """The settings as written, with the first sound value of each benchmarked parameter."""
        data = self.fixed
        for key, values in self.grid.items():
            data = replaced(data, key, next(iter(values.values())))
        return data

    def _values(self) -> None:
        """Validate the settings once with the first values, then with every other value put in its place."""
        base = self._base()
        firsts = {key: next(iter(values)) for key, values in self.grid.items()}
        self._validate(base, firsts)
        for key, values in list(self.grid.items()):
            for index, value in list(values.items()):
                if index != firsts[key]:
                    self._validate(replaced(base, key, value), {key: index}, only=key)

    def _validate(self, data: dict[str, Any], places: Mapping[str, int], only: str | None = None) -> None:
        details = wrong(data, self._named())
        for key, _ in [pair for pair in details if pair[1]["type"] == "extra_forbidden"]:
            self._meant(key)
        for key, detail in details:
            if only is not None and not f"{key}.".startswith(f"{only}."):
                continue
            if detail["type"] == "missing" and any(overlap(key, bad) for bad in self.bad):
                continue
            if detail["type"] == "too_short" and any(other.startswith(f"{key}.") for other, _ in details):
                continue  # wrong items are not counted, so a list of them looks empty
            owner = next((name for name in places if f"{key}.".startswith(f"{name}.")), None)
            place = f"{GRID_KEY}.{owner}.{places[owner]}{key[len(owner) :]}" if owner else key
            self._add(key, explained(key, detail), place)
            if owner in self.grid:
                self._drop(owner, places[owner])

    def _named(self) -> dict[str, list[str]]:
        """The plug-ins that options may be for, by the parameter that names them, fixed or benchmarked."""
        found = {}
        for place in PLACES:
            default = Settings.model_fields[place.named_by].default
            given = [name for _, name in self._given(place.named_by)] or [default]
            found[place.named_by] = [name for name in given if name in registry.names(place.kind)]
        return found

    def _meant(self, key: str) -> None:
        """Mark what a misspelt key was meant to be, so that it is not reported as missing as well."""
        prefix = key.rpartition(".")[0]
        self.bad.update(difflib.get_close_matches(key, known_keys(prefix) or known_keys(""), n=1))

    def _names(self) -> None:
        """Names of plug-ins, metrics and operators must be known, wherever a value of theirs stands."""
        for key, what, kind in _PLUGIN_KEYS:
            self._known(key, registry.names(kind), what)
        tasks = [registry.task(name) for _, name in self._given("task") if name in registry.names("tasks")]
        if tasks:
            self._known("metrics", {name for task in tasks for name in task.METRICS}, "metric")
            data_keys = {name for task in tasks for name in task.DATA_KEYS}
            for place, value in self._given("dataset.data_keys"):
                for name in (name for name in value if name not in data_keys) if isinstance(value, Mapping) else ():
                    message = registry.unknown_name(name, data_keys, "key in data_keys")
                    self._add("dataset.data_keys", message, f"{place}.{name}")
        if "framework" in self.bad:
            return
        named = self._named()["framework"]
        operators = {op for name in named for ops in registry.runtime(name).OPERATORS.values() for op in ops}
        operators.update(Settings.model_fields["operators_to_quantize"].default)  # says nothing where none can be named
        self._known("operators_to_quantize", operators, "operator")

    def _known(self, key: str, known: Collection[str], what: str) -> None:
        """Report names that are not known; the mark ``?`` of an optional group is no part of its name."""
        for place, value in self._given(key):
            for index, name in enumerate(value if isinstance(value, list) else [value]):
                bare = name.removesuffix("?") if isinstance(name, str) and key == "node_exclusion" else name
                if isinstance(name, str) and bare not in known:
                    where = f"{place}.{index}" if isinstance(value, list) else place
                    self._add(key, registry.unknown_name(bare, known, what), where)

    def _given(self, key: str) -> Iterator[tuple[str, Any]]:
        """Place and value wherever the file sets a key, fixed or benchmarked."""
        if has(self.fixed, key):
            yield key, lookup(self.fixed, key)
        for name, values in self.grid.items():
            if not f"{key}.".startswith(f"{name}."):
                continue
            rest = key[len(name) + 1 :]
            for index, value in values.items():
                if not rest:
                    yield f"{GRID_KEY}.{key}.{index}", value
                elif has(value, rest):
                    yield f"{GRID_KEY}.{name}.{index}.{rest}", lookup(value, rest)

    def _config(self) -> Config | None:
        """What is sound as a configuration; where something is wrong, defaults and examples stand in for it."""
        data = self._base()
        for key in self.bad:
            data = without(data, key)
        for key, example in REQUIRED.items():
            if not has(data, key):
                data = replaced(data, key, example)
        try:
            base = Settings.model_validate(data)
        except ValidationError:
            return None
        unknown = self.bad & {place.named_by for place in PLACES}  # options of what is not there say nothing
        varied = {key: values for key, values in self.grid.items() if key not in unknown}
        dimensions = tuple(Dimension(key=key, values=tuple(v.values())) for key, v in varied.items())
        base = completed(base, self._named())
        return Config(base=base, dimensions=dimensions, source=self.source, lines=self.lines)

    def _rules(self, config: Config) -> None:
        """A broken rule over sound values is a mistake if a value can then never run; else combinations are skipped."""
        sound = [rule for rule in rules.all_rules() if not any(overlap(k, bad) for k in rule.keys for bad in self.bad)]
        runnable: set[tuple[str, str]] = set()
        broken: list[tuple[dict[str, Any], protocols.Rule, str]] = []
        for values, settings in combinations(config):
            found = rules.broken(settings, sound)
            broken += [(values, rule, message) for rule, message in found]
            if not found:
                runnable |= {(key, canonical_json(value)) for key, value in values.items()}
        for values, rule, message in broken:
            involved = [key for blamed in rule.keys for key in values if overlap(key, blamed)]
            dead = [key for key in involved if (key, canonical_json(values[key])) not in runnable]
            if dead:
                index = next(index for index, value in self.grid[dead[0]].items() if value == values[dead[0]])
                self.mistakes.append(Mistake(self._where(f"{GRID_KEY}.{dead[0]}.{index}"), message))
            elif not involved:
                self.mistakes.append(Mistake(self._where(rule.keys[0]), message))

    def _repetitions(self, config: Config) -> None:
        """Two values that mean the same would be the same run."""
        base = config.base.model_dump(mode="json")
        for key in [dimension.key for dimension in config.dimensions]:
            seen: set[str] = set()
            for index, value in self.grid[key].items():
                settings = completed(Settings.model_validate(replaced(base, key, value)))
                text = canonical_json(settings.model_dump(mode="json"))
                if text in seen:
                    self._add(
                        key,
                        f"{key} has the value {shown(value)} twice under {GRID_KEY}; remove one",
                        f"{GRID_KEY}.{key}.{index}",
                    )
                seen.add(text)

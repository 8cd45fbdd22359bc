"""Options that belong to a plug-in: ``task_args`` to the task, ``framework_args`` to the runtime.

A plug-in says in its ``Args`` which options it has. Settings hold them as JSON, and what is not there is at its
default: ``typed`` gives a plug-in its own, ``completed`` spells all out, so that equal settings are equal records.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from quantbench.plugins import registry
from quantbench.plugins.arguments import OnEveryCard
from quantbench.plugins.protocols import Rule
from quantbench.schema.base import canonical_json
from quantbench.schema.settings import FrameworkArgs, Options, Recipe, Settings, Sources, TaskArgs

A = TypeVar("A", bound=Options)


class Place(NamedTuple):
    """Where options of plug-ins of a kind stand in settings.

    Attributes:
        key: the parameter that holds them.
        kind: of the plug-ins.
        named_by: the parameter that names the plug-in.
        shared: the options that all plug-ins of the kind have.

    """

    key: str
    kind: registry.Kind
    named_by: str
    shared: type[Options]

    def given(self, settings: Settings) -> Mapping[str, JsonValue]:
        """Options as they stand in settings, but for those that all plug-ins have."""
        held: Options = getattr(settings, self.key)
        return held.model_extra or {}

    def args(self, name: str) -> type[Options]:
        """The options of one plug-in."""
        return registry.task(name).Args if self.kind == "tasks" else registry.runtime(name).Args

    def rules(self, name: str) -> tuple[Rule, ...]:
        """The rules of one plug-in."""
        return registry.task(name).RULES if self.kind == "tasks" else registry.runtime(name).RULES

    def has(self, name: str, option: str) -> bool:
        """Whether a plug-in has an option of its own."""
        return option in own_fields(self.args(name))

    def owners(self, option: str) -> list[str]:
        """The plug-ins that have an option of their own by this name."""
        return [name for name in registry.names(self.kind) if self.has(name, option)]

    def options(self) -> list[str]:
        """Every option that some plug-in has of its own."""
        return list(dict.fromkeys(option for args in self.all_args() for option in own_fields(args)))

    def all_args(self) -> list[type[Options]]:
        """The options of every plug-in of the kind."""
        return [self.args(name) for name in registry.names(self.kind)]


TASKS = Place("task_args", "tasks", "task", TaskArgs)
RUNTIMES = Place("framework_args", "runtimes", "framework", FrameworkArgs)
PLACES = (TASKS, RUNTIMES)


def typed(wanted: type[A], settings: Sources | Recipe) -> A:
    """The options of a plug-in, its own ``Args``, every default filled in.

    Options belong to the plug-in that the settings name: to any other they are as if they were not set, such as to the
    runtime of the float export beside models of another.
    """
    place = _place_of(wanted)
    name = getattr(settings, place.named_by)
    meant = name not in registry.names(place.kind) or issubclass(place.args(name), wanted)
    known = wanted.model_fields if meant else place.shared.model_fields
    return wanted.model_validate({option: value for option, value in getattr(settings, place.key) if option in known})


@cache
def own_fields(args: type[Options]) -> Mapping[str, Any]:
    """The fields that not all plug-ins of the kind have."""
    shared = _place_of(args).shared.model_fields
    return {option: field for option, field in args.model_fields.items() if option not in shared}


def completed(settings: Settings, named: Mapping[str, Sequence[str]] | None = None) -> Settings:
    """The same settings in one form: options with their defaults, nothing of another plug-in that says nothing.

    Args:
        settings: the settings.
        named: by the parameter that names plug-ins, those that settings of a grid may name, where there are several:
            defaults that these share are filled in, and nothing that belongs to one of them is left out.

    """
    changes = {}
    for place in PLACES:
        names = (named or {}).get(place.named_by) or (getattr(settings, place.named_by),)
        shared = {option: getattr(getattr(settings, place.key), option) for option in place.shared.model_fields}
        own = _completed(place, names, place.given(settings))
        changes[place.key] = place.shared.model_validate({**shared, **own})
    return settings.model_copy(update=changes)


def _completed(place: Place, names: Collection[str], given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    found = defaults(place, names)
    for option, value in given.items():
        if any(place.has(name, option) for name in names):
            found[option] = next(_read(place, names, option, value), value)
        elif not says_nothing(place, option, value):
            found[option] = value
    return found


def defaults(place: Place, names: Collection[str]) -> dict[str, JsonValue]:
    """Defaults of the options of plug-ins, but for those on which these do not agree."""
    found: dict[str, JsonValue] = {}
    apart = set()
    for name in names:
        for option, value in _defaults(place.args(name)).items():
            if canonical_json(found.setdefault(option, value)) != canonical_json(value):
                apart.add(option)
    return {option: value for option, value in found.items() if option not in apart}


def says_nothing(place: Place, option: str, value: JsonValue) -> bool:
    """Whether a value is the default of a plug-in that has the option: files spell defaults of others out, too."""
    return any(
        read == _defaults(place.args(name))[option]
        for name in place.owners(option)
        for read in _read(place, [name], option, value)
    )


def _read(place: Place, names: Collection[str], option: str, value: JsonValue) -> Iterator[JsonValue]:
    """The value as JSON, as each of the plug-ins reads it that has such an option and that it fits."""
    for name in names:
        if place.has(name, option):
            reading = _reading(place.args(name), option, canonical_json(value))
            if not reading.errors:
                yield json.loads(reading.text)


def errors(place: Place, name: str, option: str, value: JsonValue) -> tuple[ErrorDetails, ...]:
    """What is wrong with the value of an option that a plug-in has."""
    return _reading(place.args(name), option, canonical_json(value)).errors


class _Reading(NamedTuple):
    """A value as a plug-in reads it, as JSON text, or what is wrong with it."""

    text: str
    errors: tuple[ErrorDetails, ...] = ()


@lru_cache(maxsize=1024)  # all combinations of a grid have the same few
def _reading(args: type[Options], option: str, text: str) -> _Reading:
    try:
        read = args.model_validate({option: json.loads(text)})
    except ValidationError as error:
        return _Reading("null", tuple(error.errors(include_url=False)))
    return _Reading(json.dumps(read.model_dump(mode="json")[option]))


@cache
def _defaults(args: type[Options]) -> dict[str, JsonValue]:
    return {option: value for option, value in args().model_dump(mode="json").items() if option in own_fields(args)}


def always_shown(place: Place, names: Collection[str]) -> set[str]:
    """Options of plug-ins that cards show even where they are at their defaults."""
    return {
        option
        for name in names
        for option, field in own_fields(place.args(name)).items()
        if any(mark is OnEveryCard or isinstance(mark, OnEveryCard) for mark in field.metadata)
    }


def models(model: type[BaseModel]) -> Sequence[type[BaseModel]]:
    """The records that say which names there are in a record: where that holds options, every plug-in's."""
    for place in PLACES:
        if model is place.shared:
            return [place.shared, *place.all_args()]
    return [model]


def _place_of(args: type[Options]) -> Place:
    return next(place for place in PLACES if issubclass(args, place.shared))

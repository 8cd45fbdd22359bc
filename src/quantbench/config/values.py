"""What is wrong with single values, whichever record says what may stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from quantbench.plugins import options
from quantbench.plugins.options import PLACES, Place
from quantbench.schema.settings import Settings


def wrong(data: Mapping[str, Any], named: Mapping[str, Sequence[str]]) -> list[tuple[str, ErrorDetails]]:
    """Dotted key and pydantic's error of everything in settings, as plain data, that can be for no plug-in.

    Args:
        data: the settings as they are written.
        named: the plug-ins that may read the options, by the parameter that names them; options that none of them has
            are held against what the plug-ins say that have them.

    """
    found: list[ErrorDetails] = []
    try:
        Settings.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
    keyed = [(_dotted(detail), detail) for detail in found]
    for place in PLACES:
        given = data.get(place.key)
        for option, value in given.items() if isinstance(given, Mapping) else ():
            if option not in place.shared.model_fields:
                details = _of_option(place, option, value, named[place.named_by])
                keyed += [(_dotted(detail, place.key), detail) for detail in details]
    return keyed


def _of_option(place: Place, option: str, value: Any, named: Sequence[str]) -> Sequence[ErrorDetails]:
    """What every plug-in that has an option finds wrong with its value, in the words of the first."""
    names = [name for name in named if place.has(name, option)] or place.owners(option)
    if not names:
        return (ErrorDetails(type="extra_forbidden", loc=(option,), msg="", input=value),)
    each = [options.errors(place, name, option, value) for name in names]
    return each[0] if all(each) else ()


def _dotted(detail: ErrorDetails, *above: str) -> str:
    return ".".join([*above, *map(str, detail["loc"])])

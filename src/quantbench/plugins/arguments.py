"""Arguments of plug-ins as records: what their fields are made of, and mistakes of launchers' in the user's words.

The description of a launcher's field completes "must …", such as ``be a whole number, 0 or more``; options of tasks and
runtimes are told as all other parameters are, see ``options``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue, ValidationError

from quantbench.schema.base import Record


def _no_bool(value: object) -> object:
    """``true`` equals 1 in Python, but is no number to a reader."""
    if isinstance(value, bool):
        raise ValueError("input should be a number, not true or false")
    return value


class OnEveryCard:
    """Beside the type of an option that cards show even where it is at its default."""


Text = Annotated[str, Field(description="be text")]
NoBool = BeforeValidator(_no_bool)
"""Beside the type of an option that is a number: true and false are none."""
Count = Annotated[int, Field(ge=0, strict=True, description="be a whole number, 0 or more")]


class LauncherArgs(Record):
    """What may stand in ``backend.args`` of every launcher.

    ``supported_instructions`` is one of ``instruction_sets.LEVELS``, which ``rules`` see to; null caps nothing.
    """

    supported_instructions: JsonValue = None


def mistakes(model: type[Record], given: Mapping[str, JsonValue]) -> dict[str, str]:
    """What is wrong with arguments, by the name of the argument; names that there are not are left out."""
    try:
        model.model_validate({name: value for name, value in given.items() if name in model.model_fields})
    except ValidationError as error:
        wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors(include_url=False))
        return {name: _told(model, name, given.get(name)) for name in wrong}
    return {}


def _told(model: type[Record], name: str, value: JsonValue) -> str:
    """A message with what was set and what to do; null is as good as missing."""
    must = model.model_fields[name].description or "be what its documentation says"
    if value is None:
        return f"is missing; set {must.removeprefix('be ')}"
    return f"is {value!r}; must {must}"

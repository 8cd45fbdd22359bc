"""Arguments of plug-ins as records, and their mistakes in the user's words.

A field's description completes "must …", such as ``be a whole number, 0 or more``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, JsonValue, ValidationError

from quantbench.schema.base import Record

Text = Annotated[str, Field(description="be text")]
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

"""(Config, results so far) to Plan. Pure: no input or output, nothing is imported that is heavy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import JsonValue

from quantbench import rules
from quantbench.grid import combinations
from quantbench.records import Config, Plan, Result, Run, Settings, Skipped, digest

MAX_NAME = 80
CALIBRATION_ONLY = "dynamic quantization collects no ranges"


def make_plan(config: Config, results: Iterable[Result] = (), only: str = "*") -> Plan:
    """The runs of a configuration that are still missing.

    Args:
        config: the validated configuration.
        results: what is already stored; a run whose result is done is not planned again, a failed one is.
        only: glob over run names; combinations that do not match are left out silently.

    """
    finished = {result.run.key for result in results if result.done}
    runs: list[Run] = []
    done: list[Run] = []
    skipped: list[Skipped] = []
    by_key: dict[str, Run] = {}
    for values, settings in combinations(config):
        resolved = _without_effectless(settings)
        run = Run(
            name=_name(values, settings),
            key=digest(resolved.model_dump(mode="json")),
            settings=resolved,
            benchmarked=values,
        )
        reason = _reason_to_skip(settings, by_key.get(run.key))
        if reason:
            skipped.append(Skipped(benchmarked=values, reason=reason))
            continue
        by_key[run.key] = run
        if fnmatchcase(run.name, only):
            (done if run.key in finished else runs).append(run)
    return Plan(runs=tuple(runs), done=tuple(done), skipped=tuple(skipped))


def _without_effectless(settings: Settings) -> Settings:
    """Settings that have no effect on a run get their defaults, so that equal work has an equal key."""
    if settings.quantization_approach == "dynamic":
        return settings.model_copy(update={"calibration": type(settings.calibration)()})
    return settings


def _reason_to_skip(settings: Settings, twin: Run | None) -> str | None:
    for _, message in rules.broken(settings):
        return message
    if twin is not None:
        return f"{CALIBRATION_ONLY}: the same as {twin.name}"
    return None


def _name(values: Mapping[str, JsonValue], settings: Settings) -> str:
    """A short readable name of a combination, fit for a folder; unique within a plan."""
    if not values:
        return settings.quantization_approach
    text = "__".join(f"{key.rpartition('.')[2]}-{_word(value)}" for key, value in values.items())
    text = re.sub(r"[^A-Za-z0-9_.+=-]+", "-", text)
    plain = text == "__".join(f"{key.rpartition('.')[2]}-{_word(value)}" for key, value in values.items())
    if len(text) <= MAX_NAME and plain:
        return text
    return f"{text[: MAX_NAME - 9]}-{digest(dict(values))[:8]}"


def _word(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "+".join(_word(item) for item in value)
    if isinstance(value, dict):
        return "+".join(f"{key}={_word(item)}" for key, item in value.items())
    return str(value)

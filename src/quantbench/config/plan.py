"""(Config, results so far) to Plan. Pure: no input or output, nothing is imported that is heavy."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import JsonValue

from quantbench.config import rules
from quantbench.config.keys import combinations, parts
from quantbench.errors import BadInput, Mistake
from quantbench.plugins.former import spelled_out
from quantbench.plugins.options import completed
from quantbench.schema.base import canonical_json, digest
from quantbench.schema.results import Plan, Result, Run, Skipped
from quantbench.schema.settings import AwareTrainingArgs, Calibration, Config, Pruning, Settings

MAX_NAME = 80
MOST_LISTED = 20
CALIBRATION_ONLY = "dynamic quantization collects no ranges"
NO_EFFECT = "the values that differ have no effect here"
IDLE = {
    "none": ("operators_to_quantize", "node_exclusion", "per_channel", "activation_type", "weight_type"),
    "mixed": ("operators_to_quantize", "activation_type"),
    "dynamic": ("activation_type",),
}
"""Parameters that say nothing by approach: nothing is quantized; products are placed one by one, and activations are
unsigned, as in dynamic quantization (``rules`` refuses other values there)."""
TIMED_BY = ("input_lengths", "time_benchmark_args")
"""Parameters that say nothing where nothing is timed."""
UNORDERED = ("operators_to_quantize", "node_exclusion")
"""Lists whose order says nothing."""


def make_plan(config: Config, results: Iterable[Result] = (), only: str = "*") -> Plan:
    """The runs of a configuration that are still missing.

    Args:
        config: the validated configuration.
        results: what is already stored; a run whose result is done is not planned again, a failed one is.
        only: which runs, see :func:`matches`; others are left out silently.

    Raises:
        BadInput: if no run at all matches ``only``.

    """
    finished = {result.run.key for result in results if result.done}
    runs: list[Run] = []
    done: list[Run] = []
    skipped: list[Skipped] = []
    by_same: dict[str, Run] = {}
    taken: set[str] = set()
    for values, settings in combinations(config):
        resolved = effective(settings)
        key = digest(spelled_out(resolved))
        same = _without_order(resolved)
        reason = _reason_to_skip(settings, values, by_same.get(same))
        if reason:
            skipped.append(Skipped(benchmarked=values, reason=reason))
            continue
        run = Run(name=_name(values, settings, taken), key=key, settings=resolved, benchmarked=values)
        taken.add(run.name.casefold())
        by_same[same] = run
        if matches(run, only, len(by_same)):
            (done if key in finished else runs).append(run)
    if only != "*" and not runs and not done:
        raise BadInput([Mistake(f"--only {only}", f"matches no run; there is: {listed(by_same.values())}")])
    return Plan(runs=tuple(runs), done=tuple(done), skipped=tuple(skipped))


def matches(run: Run, only: str, number: int | None = None) -> bool:
    """Whether a run is meant by its name, its key, its number in the plan or ``parameter=value``, each also as a glob.

    A parameter may be written without what stands before its last dot, or be a part of one; a value as YAML or as in
    the run's name.
    """
    means = [run.name, run.key, *([] if number is None else [str(number)])]
    for key, value in _with_parts(run.benchmarked):
        means += [f"{name}={text}" for name in (key, parts(key)[-1]) for text in (_flow(value), _word(value))]
    wanted = only.replace(" ", "")
    return any(text.replace(" ", "") == wanted or fnmatchcase(text, only) for text in means)


def _with_parts(values: Mapping[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    """Keys and values, and those inside of mappings."""
    for key, value in values.items():
        yield key, value
        if isinstance(value, dict):
            yield from _with_parts({f"{key}.{name}": inner for name, inner in value.items()})


def numbers(config: Config) -> dict[str, int]:
    """The number of every run in the plan, from 1, by the canonical JSON of its benchmarked values."""
    return {canonical_json(run.benchmarked): number for number, run in enumerate(make_plan(config).runs, start=1)}


def told(item: Run | Skipped) -> str:
    """What tells a combination from others: its benchmarked values in full, or the name of a run that has none."""
    values = ", ".join(f"{key}={_flow(value)}" for key, value in item.benchmarked.items())
    return values or (item.name if isinstance(item, Run) else "this run")


def listed(runs: Iterable[Run]) -> str:
    """The first runs by name, and how many more there are."""
    names = [run.name for run in runs]
    more = f" and {len(names) - MOST_LISTED} more, see 'quantbench plan'" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more


def _flow(value: JsonValue) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def run_of(settings: Settings, name: str = "") -> Run:
    """One run outside of a grid; where it has no name it is called by what it is, and its key's beginning."""
    resolved = effective(completed(settings))
    key, precision = digest(spelled_out(resolved)), settings.framework_args.precision
    words = [settings.framework, settings.quantization_approach, *([precision] if precision != "float32" else [])]
    return Run(name=name or "-".join([*words, key[:8]]), key=key, settings=resolved)


def effective(settings: Settings) -> Settings:
    """The settings of a run: what has no effect on it gets its default, so that equal work has an equal key."""
    idle = IDLE.get(settings.quantization_approach, ())
    settings = settings.model_copy(update={name: Settings.model_fields[name].default for name in idle})
    if not settings.is_timed:
        settings = settings.model_copy(update={name: Settings.model_fields[name].default for name in TIMED_BY})
    default, calibration = Calibration(), settings.calibration
    if not settings.pruning.takes:
        settings = settings.model_copy(update={"pruning": Pruning()})
    if not settings.aware_training:
        settings = settings.model_copy(update={"aware_training_args": AwareTrainingArgs()})
    if not settings.reads_calibration:
        dataset = settings.dataset.model_copy(update={"calibration_split": None})
        return settings.model_copy(update={"calibration": default, "dataset": dataset})
    if not settings.calibrated:
        return settings.model_copy(update={"calibration": default})
    unused = {
        "percentile": calibration.method != "percentile",
        "averaging_constant": not calibration.moving_average,
        "seed": calibration.sampling != "random",
    }
    reset = {name: getattr(default, name) for name, is_unused in unused.items() if is_unused}
    return settings.model_copy(update={"calibration": calibration.model_copy(update=reset)})


def _without_order(settings: Settings) -> str:
    """What a run does, whatever the order of lists that are sets; the key keeps the order that was written."""
    sets = {name: tuple(sorted(set(getattr(settings, name)))) for name in UNORDERED}
    return digest(settings.model_copy(update=sets).model_dump(mode="json"))


def _reason_to_skip(settings: Settings, values: Mapping[str, JsonValue], twin: Run | None) -> str | None:
    for _, message in rules.broken(settings):
        return message
    if twin is None:
        return None
    differing = [key for key, value in values.items() if value != twin.benchmarked[key]]
    if settings.quantization_approach == "dynamic" and all("calibration" in key for key in differing):
        return f"{CALIBRATION_ONLY}: the same as {twin.name}"
    return f"{NO_EFFECT} ({', '.join(differing)}): the same as {twin.name}"


def _name(values: Mapping[str, JsonValue], settings: Settings, taken: Container[str]) -> str:
    """A short readable name of a combination, fit for a folder on any file system; not among those ``taken``."""
    if not values:
        return settings.quantization_approach
    written = "__".join(f"{parts(key)[-1]}-{_word(value)}" for key, value in values.items())
    text = re.sub(r"[^A-Za-z0-9_.+=-]+", "-", written)
    if len(text) <= MAX_NAME and text == written and text.casefold() not in taken:
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

"""What can only be checked with the model and the data at hand, before anything is written or worked on.

Model and data stay loaded on the workbench, so nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quantbench import registry, text
from quantbench.errors import BadInput, Mistake
from quantbench.grid import combinations
from quantbench.quantize.sampling import choose
from quantbench.records import Config, Result, Settings
from quantbench.workbench import Workbench


def check(config: Config, workbench: Workbench, results: Sequence[Result]) -> None:
    """Check every combination of a configuration against its model and its data.

    Raises:
        BadInput: with every mistake, at the line of the parameter that is to blame.

    """
    mistakes: list[Mistake] = []
    for _, settings in combinations(config):
        for key, message in [*_model(settings, workbench), *_data(settings, workbench)]:
            mistakes.append(Mistake(config.where(key), message))
    if mistakes:
        raise BadInput(mistakes)
    for result in results:
        _unchanged(result, config, workbench)


def sources(settings: Settings, workbench: Workbench) -> dict[str, str]:
    """Fingerprints of the model and the data of a run."""
    found = {
        "model": workbench.model(settings).fingerprint,
        "evaluation": workbench.split(settings.dataset, "eval").fingerprint,
    }
    if settings.quantization_approach == "static":
        found["calibration"] = workbench.split(settings.dataset, "calibration").fingerprint
    return found


def _guarded(work: Callable[[], Any]) -> tuple[Any, list[tuple[str, str]]]:
    """The outcome of loading something, or the mistakes that prevented it, as (dotted key, message)."""
    try:
        return work(), []
    except BadInput as error:
        return None, [(mistake.where, mistake.message) for mistake in error.mistakes]


def _model(settings: Settings, workbench: Workbench) -> list[tuple[str, str]]:
    model, problems = _guarded(lambda: workbench.model(settings))
    if model is None:
        return problems
    suffix = registry.task(settings.task).ARCHITECTURE_SUFFIX
    architectures = model.config.get("architectures") or []
    if not any(name.endswith(suffix) for name in architectures):
        found = ", ".join(architectures) or "no architecture"
        problems.append(
            (
                "model_name_or_path",
                f"{settings.model_name_or_path!r} is no model for {settings.task}: its config.json "
                f"names {found}, expected one that ends in {suffix}",
            )
        )
    if not getattr(model.tokenizer, "is_fast", False):
        problems.append(
            ("model_name_or_path", f"{settings.model_name_or_path!r} has no fast tokenizer (tokenizer.json)")
        )
    limit = text.max_length(model.config, model.tokenizer)
    too_long = [length for length in settings.input_lengths if limit is not None and length > limit]
    if too_long:
        problems.append(("input_lengths", f"input length {too_long[0]} is over the model's maximum of {limit} tokens"))
    if settings.calibration.padding == "max_length" and limit is None:
        problems.append(("calibration.padding", "the model names no maximum length to pad to; use padding: none"))
    return problems


def _data(settings: Settings, workbench: Workbench) -> list[tuple[str, str]]:
    """Mistakes in the splits; labels are compared only where the model is one for the task."""
    model, model_problems = _guarded(lambda: workbench.model(settings))
    labels = [str(name) for name in (model.config.get("id2label") or {}).values()] if not model_problems else []
    task = registry.task(settings.task)
    problems: list[tuple[str, str]] = []
    wanted = ["eval", "calibration"] if settings.quantization_approach == "static" else ["eval"]
    for which in wanted:
        split, found = _guarded(lambda which=which: workbench.split(settings.dataset, which))  # type: ignore[misc]
        problems += found
        if split is None:
            continue
        name = str(getattr(settings.dataset, f"{which}_split"))
        found = task.check(settings, split.data.features, name, labels)
        problems += [(key, message) for key, message in found if labels or key != "dataset.label_map"]
        if which == "calibration":
            try:
                choose(len(split.data), settings.calibration)
            except ValueError as error:
                problems.append(("calibration.stride", str(error)))
    return problems


def _unchanged(result: Result, config: Config, workbench: Workbench) -> None:
    now = sources(result.run.settings, workbench)
    for name, fingerprint in result.sources.items():
        if now.get(name, fingerprint) != fingerprint:
            key = "model_name_or_path" if name == "model" else "dataset.path"
            message = f"the {name} {'files' if name == 'model' else 'data'} have changed since the stored results; "
            raise BadInput([Mistake(config.where(key), message + "choose another --out, or delete the folder")])

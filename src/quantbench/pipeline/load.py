"""Load: from the names of a model and a data set to the model, the rows that count, and examples made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from quantbench.pipeline import arms
from quantbench.pipeline.context import Context
from quantbench.pipeline.model import Model, open_model
from quantbench.pipeline.predict import needs_examples
from quantbench.pipeline.rows import Split, counted, overlap, read_split
from quantbench.plugins import registry
from quantbench.plugins.protocols import Examples
from quantbench.schema.settings import Dataset, Settings, Sources
from quantbench.sources.checkpoints import load_checkpoint, problems
from quantbench.sources.hub import mistake

EXPORT_SHAPE = (2, 8)
"""Batch size and tokens of the input that a model is exported with, and tried on first."""
SPLITS = {"eval_split", "calibration_split"}


def load_model(sources: Sources, context: Context) -> Model:
    """The model of a run, opened and tried on drawn inputs.

    Raises:
        BadInput: at ``model_name_or_path``, if it cannot be found, must not be loaded or gives no numbers.

    """
    name = sources.model_name_or_path
    inputs = sources.model_dump(
        mode="json", include={"model_name_or_path", "task", "allow_pickled_weights", "trust_remote_code"}
    )
    inputs["place"] = context.place(name)

    def load() -> Model:
        model = open_model(name, context.place(name), sources)
        for problem in _problems(model, sources, context):
            raise mistake("model_name_or_path", f"model {name!r} cannot be used: {problem}")
        return model

    return context.cache.once("models", inputs, load)


def _problems(model: Model, sources: Sources, context: Context) -> list[str]:
    """What is wrong with a model's weights for the task, looked at once on this machine."""
    outputs = tuple(registry.task(sources.task).OUTPUTS)
    options = arms.original(sources, model).options
    inputs = {"model": model, "options": options, "outputs": outputs}

    def look() -> list[str]:
        return problems(load_checkpoint(model.folder, options), model.tried(EXPORT_SHAPE), outputs)

    return context.cache.stored("checkpoints", inputs, look)


def load_split(dataset: Dataset, which: str, context: Context) -> Split:
    """The ``eval`` or ``calibration`` split of a data set, whole.

    Raises:
        BadInput: if it cannot be loaded.

    """
    inputs = {
        "dataset": dataset.model_dump(mode="json", exclude=SPLITS),
        "place": context.place(dataset.path),
        "split": getattr(dataset, f"{which}_split"),
    }
    return context.cache.once("splits", inputs, lambda: read_split(dataset, which, context.places))


def load_rows(sources: Sources, which: str, context: Context) -> Split:
    """The rows of a split that count, with their references; see :func:`quantbench.pipeline.rows.counted`."""
    model, split = load_model(sources, context), load_split(sources.dataset, which, context)
    inputs = {
        "data": split,
        "model": model,
        "which": which,
        **sources.model_dump(mode="json", include={"task", "task_args", "dataset"}),
    }
    return context.cache.once("rows", inputs, lambda: counted(sources, which, split, model))


def evaluated(sources: Sources, most: int | None, context: Context) -> int:
    """Number of examples of the evaluation split that count, ``most`` of them at most where that is set."""
    available = len(load_rows(sources, "eval", context).data)
    return min(most or available, available)


def load_examples(sources: Sources, most: int | None, context: Context) -> Examples:
    """The evaluation examples, prepared once.

    Where the data set names a calibration split, their notes say whether rows stand in both.
    """
    model, rows = load_model(sources, context), load_rows(sources, "eval", context)
    inputs = {
        "model": model,
        "data": rows,
        "samples": most,
        "dataset": sources.dataset.model_dump(mode="json", exclude={"calibration_split"}),
        **sources.model_dump(mode="json", include={"task", "task_args"}),
    }

    def make() -> Any:
        return prepare(sources, rows.data.select(range(evaluated(sources, most, context))), model)

    examples = context.cache.once("examples", inputs, make)
    shared: Sequence[str] = ()
    if sources.dataset.calibration_split:
        shared = overlap(sources.dataset, rows, load_rows(sources, "calibration", context))
    noted: Examples = replace(examples, notes=(*rows.notes, *shared, *examples.notes))
    return noted


def prepare(sources: Sources, data: Any, model: Model) -> Any:
    """Examples of some rows, as the task and the model need them."""
    return registry.task(sources.task).prepare(sources, data, model.processor, model.config)


def fingerprints(settings: Settings, context: Context) -> dict[str, str]:
    """Fingerprints of the model and the data of a run, by what they are to it."""
    found = {"model": load_model(settings.sources, context).fingerprint}
    if needs_examples(settings):
        found["evaluation"] = load_split(settings.dataset, "eval", context).fingerprint
    if settings.calibrated:
        found["calibration"] = load_split(settings.dataset, "calibration", context).fingerprint
    return found

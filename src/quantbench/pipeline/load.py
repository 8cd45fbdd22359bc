"""Load: from the names of a model and a data set to the model, the rows that count, and examples made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from quantbench.pipeline.context import Context
from quantbench.pipeline.drawn import drawn
from quantbench.pipeline.model import EXPORT_SHAPE, Model, open_model
from quantbench.pipeline.predict import needs_examples
from quantbench.pipeline.rows import Split, counted, overlap, read_split
from quantbench.plugins import registry
from quantbench.plugins.examples import Examples
from quantbench.schema.settings import Dataset, Settings, Sources
from quantbench.sources.cells import Within
from quantbench.sources.checkpoints import complex_operator, load_checkpoint, problems
from quantbench.sources.hub import mistake

SPLITS = {"eval_split", "calibration_split"}


@dataclass(frozen=True)
class Loaded:
    """The model of a run and its evaluation examples, or inputs that stand for them where a run reads no data."""

    model: Model
    examples: Examples


def load(settings: Settings, context: Context) -> Loaded:
    """What a run works on.

    Raises:
        BadInput: at the parameter that is to blame, if the model or the data cannot be used.

    """
    model = load_model(settings.sources, context)
    if needs_examples(settings):
        return Loaded(model, load_examples(settings.sources, settings.max_eval_samples, model, context))
    return Loaded(model, drawn(model.processor, settings))


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
        model = open_model(sources, context)
        for problem in _tried(model, sources.task, context)["problems"]:
            raise mistake("model_name_or_path", f"model {name!r} cannot be used: {problem}")
        return model

    return context.cache.once("models", inputs, load)


def complex_operator_of(model: Model, task: str, context: Context) -> str | None:
    """The operator by which a model computes with complex numbers; None if there is none."""
    found: str | None = _tried(model, task, context)["complex_operator"]
    return found


def _tried(model: Model, task: str, context: Context) -> dict[str, Any]:
    """What a model's weights are on drawn inputs for the task, looked at once on this machine."""
    if model.opset is not None:  # an ONNX file, which has neither
        return {"problems": [], "complex_operator": None}
    outputs = tuple(registry.task(task).OUTPUTS)
    options = model.original.options
    inputs = {"model": model, "options": options, "outputs": outputs}

    def look() -> dict[str, Any]:
        loaded, batches = load_checkpoint(model.folder, options), model.tried(EXPORT_SHAPE)
        found = problems(loaded, batches, outputs)
        return {
            "problems": found,
            "complex_operator": None if found else complex_operator(loaded.model, batches[0], outputs),
        }

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


def load_rows(sources: Sources, which: str, model: Model, context: Context) -> Split:
    """The rows of a split that count, with their references; see :func:`quantbench.pipeline.rows.counted`."""
    split = load_split(sources.dataset, which, context)
    inputs = {
        "data": split,
        "model": model,
        "which": which,
        **sources.model_dump(mode="json", include={"task", "task_args", "dataset"}),
    }
    return context.cache.once("rows", inputs, lambda: counted(sources, which, split, model))


def evaluated(rows: Split, most: int | None) -> int:
    """How many rows of the evaluation split are examples, ``most`` of them at most where that is set."""
    return min(most or len(rows.data), len(rows.data))


def load_examples(sources: Sources, most: int | None, model: Model, context: Context) -> Examples:
    """The evaluation examples, prepared once.

    Where the data set names a calibration split, their notes say whether rows stand in both.
    """
    rows = load_rows(sources, "eval", model, context)
    inputs = {
        "model": model,
        "data": rows,
        "samples": most,
        "dataset": sources.dataset.model_dump(mode="json", exclude={"calibration_split"}),
        **sources.model_dump(mode="json", include={"task", "task_args"}),
    }

    def make() -> Any:
        chosen = rows.data.select(range(evaluated(rows, most)))
        return prepare(sources, Within(chosen, load_split(sources.dataset, "eval", context).data), model)

    examples = context.cache.once("examples", inputs, make)
    shared: Sequence[str] = ()
    if sources.dataset.calibration_split:
        shared = overlap(sources.dataset, rows, load_rows(sources, "calibration", model, context))
    noted: Examples = replace(examples, notes=(*rows.notes, *shared, *examples.notes))
    return noted


def prepare(sources: Sources, data: Any, model: Model) -> Any:
    """Examples of some rows, as the task and the model need them."""
    return registry.task(sources.task).prepare(sources, data, model.processor, model.config)


def fingerprints(settings: Settings, model: Model, context: Context) -> dict[str, str]:
    """Fingerprints of the model and the data of a run, by what they are to it."""
    found = {"model": model.fingerprint}
    if needs_examples(settings):
        found["evaluation"] = load_split(settings.dataset, "eval", context).fingerprint
    if settings.reads_calibration:
        found["calibration"] = load_split(settings.dataset, "calibration", context).fingerprint
    return found

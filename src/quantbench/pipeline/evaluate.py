"""Evaluate: from an arm and examples to its predictions and scores."""

from __future__ import annotations

from typing import NamedTuple

from quantbench.pipeline import predict
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import Loaded
from quantbench.plugins import registry
from quantbench.plugins.examples import Prediction
from quantbench.schema.results import ArmSpec, Scores
from quantbench.schema.settings import Settings
from quantbench.sources import labels as names_of_labels


class Predictions(NamedTuple):
    """Predictions in the order of the inputs, and whether they were made now rather than found."""

    rows: list[Prediction]
    fresh: bool


def predictions(
    spec: ArmSpec,
    task: str,
    loaded: Loaded,
    label: str,
    context: Context,
    batch_size: int | None = None,
) -> Predictions:
    """Predictions of an arm over prepared examples, from the cache where they were made before.

    Args:
        spec: the arm.
        task: reads its outputs.
        loaded: the examples, and the model whose processor makes batches of them.
        label: what a progress bar calls the arm.
        context: see there.
        batch_size: that of :func:`quantbench.pipeline.predict.scored_batch_size`.

    """
    made: list[bool] = []
    inputs = {
        "arm": spec,
        "examples": loaded.examples,
        "task": task,
        "batches": {"token_budget": predict.TOKEN_BUDGET} if batch_size is None else {"examples": batch_size},
        "threads": context.threads,
        "cap": context.environment.cap,
        "cpu": context.environment.cpu_model,
    }

    def make() -> list[Prediction]:
        made.append(True)
        examples = loaded.examples
        count, processor = len(examples.inputs), loaded.model.processor
        with context.reporter.stage(f"Evaluating {label} on {count} examples", count) as advance:
            session = registry.runtime(spec.runtime).load(spec, context.threads)
            return predict.predict(session, registry.task(task), examples, processor, advance, batch_size)

    rows = context.cache.stored("predictions", inputs, make)
    return Predictions([tuple(row) for row in rows], bool(made))


def scores(
    spec: ArmSpec, settings: Settings, loaded: Loaded, label: str, context: Context, batch_size: int | None = None
) -> tuple[Scores, bool]:
    """Metric values of an arm beside the original, only those that were asked for; whether it was evaluated now.

    Args:
        spec: the arm.
        settings: of the run.
        loaded: its model and its examples.
        label: what a progress bar calls the arm.
        context: see there.
        batch_size: that of :func:`quantbench.pipeline.predict.scored_batch_size`.

    """
    task = registry.task(settings.task)
    found = predictions(spec, settings.task, loaded, label, context, batch_size)
    original = predictions(loaded.model.original, settings.task, loaded, "the original", context)
    scored = task.score(loaded.examples, found.rows, original.rows)
    asked = settings.metrics or task.default_metrics(settings, names_of_labels.of_model(loaded.model.config))
    wanted = [value for name in asked for value in task.METRICS[name]]
    metrics = {name: scored.metrics[name] for name in dict.fromkeys(wanted)}
    return scored.model_copy(update={"metrics": metrics, "batch_size": batch_size}), found.fresh

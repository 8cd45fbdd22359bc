"""Evaluate: from an arm and examples to its predictions and scores."""

from __future__ import annotations

from typing import NamedTuple

from quantbench.pipeline import arms, predict
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import load_examples, load_model
from quantbench.plugins import registry
from quantbench.plugins.protocols import Examples, Prediction
from quantbench.schema.results import ArmSpec, Scores
from quantbench.schema.settings import Settings, Sources
from quantbench.sources import labels as names_of_labels


class Predictions(NamedTuple):
    """Predictions in the order of the inputs, and whether they were made now rather than found."""

    rows: list[Prediction]
    fresh: bool


def predictions(
    spec: ArmSpec,
    sources: Sources,
    examples: Examples,
    label: str,
    context: Context,
    batch_size: int | None = None,
) -> Predictions:
    """Predictions of an arm over prepared examples, from the cache where they were made before.

    Args:
        spec: the arm.
        sources: of the run: the task reads the outputs, the model's processor makes batches.
        examples: prepared ones.
        label: what a progress bar calls the arm.
        context: see there.
        batch_size: that of :func:`quantbench.pipeline.predict.scored_batch_size`.

    """
    made: list[bool] = []
    inputs = {
        "arm": spec,
        "examples": examples,
        "batches": {"token_budget": predict.TOKEN_BUDGET} if batch_size is None else {"examples": batch_size},
        "threads": context.threads,
        "cap": context.environment.cap,
        "cpu": context.environment.cpu_model,
    }

    def make() -> list[Prediction]:
        made.append(True)
        count, processor = len(examples.inputs), load_model(sources, context).processor
        with context.reporter.stage(f"Evaluating {label} on {count} examples", count) as advance:
            session = registry.runtime(spec.runtime).load(spec, context.threads)
            return predict.predict(session, registry.task(sources.task), examples, processor, advance, batch_size)

    rows = context.cache.stored("predictions", inputs, make)
    return Predictions([tuple(row) for row in rows], bool(made))


def scores(
    spec: ArmSpec, settings: Settings, label: str, context: Context, batch_size: int | None = None
) -> tuple[Scores, bool]:
    """Metric values of an arm beside the original, only those that were asked for; whether it was evaluated now.

    Args:
        spec: the arm.
        settings: of the run.
        label: what a progress bar calls the arm.
        context: see there.
        batch_size: that of :func:`quantbench.pipeline.predict.scored_batch_size`.

    """
    sources, task = settings.sources, registry.task(settings.task)
    model = load_model(sources, context)
    examples = load_examples(sources, settings.max_eval_samples, context)
    found = predictions(spec, sources, examples, label, context, batch_size)
    original = predictions(arms.original(sources, model), sources, examples, "the original", context)
    scored = task.score(examples, found.rows, original.rows)
    asked = settings.metrics or task.default_metrics(settings, names_of_labels.of_model(model.config))
    wanted = [value for name in asked for value in task.METRICS[name]]
    metrics = {name: scored.metrics[name] for name in dict.fromkeys(wanted)}
    return scored.model_copy(update={"metrics": metrics, "batch_size": batch_size}), found.fresh

"""The stages of a run one by one, for tests that look at what lies between a configuration and a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbench.pipeline import evaluate, export, load, optimize
from quantbench.pipeline.context import Context, context_in
from quantbench.schema.results import ArmSpec, Artifact, Run, Scores
from quantbench.schema.settings import Settings
from quantbench.system import environment
from quantbench.system.progress import Silent


def context_at(folder: Path) -> Context:
    """A context on this machine that keeps its work in a folder."""
    return context_in(folder, environment.detect(), Silent())


def examples(settings: Settings, context: Context) -> Any:
    """The evaluation examples."""
    return load.load(settings, context).examples


def original(settings: Settings, context: Context) -> ArmSpec:
    """The arm of the model as it was given."""
    return load.load_model(settings.sources, context).original


def float_model(settings: Settings, context: Context) -> export.FloatModel:
    """The float export, held against its model."""
    return export.float_model(settings, load.load(settings, context), context)


def exported(settings: Settings, context: Context) -> ArmSpec:
    """The arm of the float export."""
    return export.float_arm(float_model(settings, context), settings)


def optimized(run: Run, models: Path, context: Context) -> tuple[Artifact, ArmSpec]:
    """The optimized model of a run."""
    model = load.load_model(run.settings.sources, context)
    return optimize.optimize(run, models, model, float_model(run.settings, context), context)


def predictions(
    spec: ArmSpec, settings: Settings, context: Context, batch_size: int | None = None
) -> evaluate.Predictions:
    """Predictions over the evaluation examples."""
    return evaluate.predictions(spec, settings.task, load.load(settings, context), "", context, batch_size)


def scores(spec: ArmSpec, settings: Settings, context: Context) -> Scores:
    """Scores of an arm."""
    return evaluate.scores(spec, settings, load.load(settings, context), "", context)[0]

"""The stages of a run one by one, for tests that look at what lies between a configuration and a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbench.pipeline import arms, evaluate, export, load, optimize
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
    return load.load_examples(settings.sources, settings.max_eval_samples, context)


def original(settings: Settings, context: Context) -> ArmSpec:
    """The arm of the model as it was given."""
    return arms.original(settings.sources, load.load_model(settings.sources, context))


def exported(settings: Settings, context: Context) -> ArmSpec:
    """The arm of the float export."""
    return export.float_arm(export.float_model(settings, context), settings)


def optimized(run: Run, models: Path, context: Context) -> tuple[Artifact, ArmSpec]:
    """The optimized model of a run."""
    return optimize.optimize(run, models, export.float_model(run.settings, context), context)


def predictions(spec: ArmSpec, settings: Settings, context: Context, batch_size: int | None = None) -> Any:
    """Predictions over the evaluation examples."""
    found = examples(settings, context)
    return evaluate.predictions(spec, settings.sources, found, "", context, batch_size).rows


def scores(spec: ArmSpec, settings: Settings, context: Context) -> Scores:
    """Scores of an arm."""
    return evaluate.scores(spec, settings, "", context)[0]

"""What a version loses against the original, with intervals."""

from __future__ import annotations

from functools import partial

from quantbench.analysis.intervals import Interval, paired_bootstrap
from quantbench.plugins import registry
from quantbench.schema.memo import once
from quantbench.schema.results import Result


@once
def differences(result: Result) -> dict[str, Interval]:
    """Optimized minus original of every reported metric, with paired bootstrap intervals over the examples."""
    original, optimized = result.scores["original"], result.scores["optimized"]
    metrics = partial(registry.task(result.run.settings.task).metrics, original.columns)
    found = paired_bootstrap(original.outcomes, optimized.outcomes, metrics)
    return {name: found[name] for name in original.metrics}


def main_metric(result: Result) -> str:
    """The metric that stands for a run's quality: that of the task's default limit where it is reported."""
    metrics = result.scores["original"].metrics
    name, _ = registry.task(result.run.settings.task).default_limit(result.run.settings)
    return name if name in metrics else next(iter(metrics))


def loss(result: Result) -> tuple[str, float]:
    """The metric that stands for a run's quality and how much of it is lost."""
    original, optimized = (result.scores[arm].metrics for arm in ("original", "optimized"))
    name = main_metric(result)
    return name, original[name] - optimized[name]

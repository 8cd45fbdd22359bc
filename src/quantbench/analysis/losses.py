"""What a version loses against the original, with intervals."""

from __future__ import annotations

from functools import lru_cache, partial

from quantbench.analysis.intervals import Drawn, Interval, difference, drawn_metrics
from quantbench.plugins import registry
from quantbench.schema.memo import once
from quantbench.schema.results import Result


@once
def differences(result: Result) -> dict[str, Interval]:
    """Optimized minus original of every reported metric, with paired bootstrap intervals over the examples."""
    original, optimized = result.scores["original"], result.scores["optimized"]
    task = result.run.settings.task
    found = difference(
        _original_draws(task, original.columns, original.outcomes), _draws(task, original.columns, optimized.outcomes)
    )
    return {name: found[name] for name in original.metrics}


def _draws(task: str, columns: tuple[str, ...], outcomes: tuple[tuple[int | float, ...], ...]) -> Drawn:
    return drawn_metrics(outcomes, partial(registry.task(task).metrics, columns))


_original_draws = lru_cache(maxsize=4)(_draws)
"""The runs of a benchmark share their original, which then is drawn once for all of them."""


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

"""What a version may lose and take up, from the texts of the command line or values of Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import ByteSize, TypeAdapter, ValidationError

from quantbench.errors import BadInput, Mistake
from quantbench.plugins import registry
from quantbench.schema.settings import Config, Settings
from quantbench.tune.search import Limit

if TYPE_CHECKING:
    from quantbench.pipeline.context import Context


def limit_texts(max_drop: Mapping[str, float | str] | Sequence[str] | None) -> Sequence[str]:
    """Limits in any of the forms that ``max_drop`` takes, as the command line has them."""
    if isinstance(max_drop, Mapping):
        return [f"{metric}={drop}" for metric, drop in max_drop.items()]
    return [max_drop] if isinstance(max_drop, str) else max_drop or ()


def parse_limit(text: str, config: Config) -> Limit:
    """A limit as given to ``--max-drop``: ``f1=0.005``, or ``f1=0.5%`` of the original's value.

    Raises:
        BadInput: if it is not of that form, or the metric is not among those of the configuration.

    """
    task = registry.task(config.base.task)
    asked = config.base.metrics or task.known_metrics(config.base)
    known = list(dict.fromkeys(value for name in asked for value in task.METRICS[name]))
    metric, _, number = text.partition("=")
    where = f"--max-drop {text}"
    try:
        drop = float(number.removesuffix("%"))
    except ValueError:
        drop = -1.0
    if not 0 <= drop < float("inf"):
        raise BadInput([Mistake(where, f"must be METRIC=NUMBER, such as {known[-1]}=0.005 or {known[-1]}=0.5%")])
    if metric not in known:
        raise BadInput([Mistake(where, registry.unknown_name(metric, known, "metric"))])
    relative = number.endswith("%")
    return Limit(metric=metric, drop=drop / 100 if relative else drop, relative=relative)


def scored_limits(limits: Sequence[Limit], settings: Settings, context: Context) -> Sequence[Limit]:
    """The limits, or the task's own for the model's labels where there are none.

    Raises:
        BadInput: if a limit is of a metric that is not scored.

    """
    from quantbench.pipeline.load import load_model
    from quantbench.sources import labels as names_of_labels

    task = registry.task(settings.task)
    labels = names_of_labels.of_model(load_model(settings.sources, context).config)
    asked = settings.metrics or task.default_metrics(settings, labels)
    scored = [value for name in asked for value in task.METRICS[name]]
    if not limits:
        metric, drop = task.default_limit(settings, labels)
        limits = [Limit(metric=metric if metric in scored else scored[0], drop=drop)]
    for limit in limits:
        if limit.metric not in scored:
            message = f"{limit.metric} is not among the metrics that are scored: {', '.join(scored)}; see metrics"
            raise BadInput([Mistake(f"--max-drop {limit.metric}", message)])
    return limits


def bytes_of(option: str, given: int | str | None) -> int | None:
    """A number of bytes, or a text with a unit, of an option; None where none is given.

    Raises:
        BadInput: if it is no such text, or not above 0.

    """
    if given is None:
        return None
    try:
        found = int(TypeAdapter(ByteSize).validate_python(given))
    except ValidationError:
        found = 0
    if found <= 0:
        raise BadInput([Mistake(f"{option} {given}", "must be a number of bytes, such as 24MB or 24MiB")])
    return found

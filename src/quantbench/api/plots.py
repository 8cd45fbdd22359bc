"""Pictures of a benchmark, with matplotlib (the extra ``plots``)."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, cast

from quantbench.analysis import losses, speedups
from quantbench.analysis.speedups import shape_name
from quantbench.errors import BadInput, Mistake
from quantbench.schema.results import Latency, Result
from quantbench.schema.settings import InputLength

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ShapeKey = tuple[int, InputLength | None] | tuple[int]
WHISKERS = (1, 99)
"""Percentiles at the ends of a box's whiskers; calls beyond are left out of the picture."""
LABEL = 28
"""Characters of a line of a label beside a box."""


class Plots:
    """Pictures of results. Each draws into ``ax`` where it is given, else into a new figure, and returns the Axes."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = results

    def tradeoff(self, *, shape: ShapeKey | None = None, metric: str | None = None, ax: Axes | None = None) -> Axes:
        """Loss of a metric (original minus optimized, with its interval) against the mean milliseconds of a call.

        Args:
            shape: (batch size, input length), or (batch size,) for images; the first that was timed by default.
            metric: the value that is shown; by default the one that a search would keep to.
            ax: where to draw.

        Raises:
            BadInput: if matplotlib is missing, nothing was timed there, or nothing evaluated with that metric.

        """
        scored = [result for result in self._results if result.scores and result.latency]
        if not scored:
            raise BadInput([Mistake("plot.tradeoff", "needs a run that was evaluated and timed; there is none")])
        name = metric or losses.main_metric(scored[0])
        known = scored[0].scores["original"].metrics
        if name not in known:
            raise BadInput([Mistake(f"metric {name}", f"is not among those that were scored: {', '.join(known)}")])
        at = {result.run.name: _at(result, shape or _key(scored[0].latency[0])) for result in scored}
        axes = _axes(ax)
        for result in scored:
            _point(axes, result, at[result.run.name], name)
        first = at[scored[0].run.name]
        for label, arm, colour in (("original", speedups.BASELINE, "black"), ("onnx-float", "onnx-float", "grey")):
            axes.scatter([speedups.mean_ms(first.arms[arm])], [0.0], marker="s", color=colour, label=label)
        axes.set_xlabel(f"milliseconds per call, {shape_name(first)}")
        axes.set_ylabel(f"{name} lost")
        axes.set_xlim(left=0)
        axes.legend()
        return cast("Axes", axes)

    def latency(self, shape: ShapeKey | None = None, *, ax: Axes | None = None) -> Axes:
        """A box per arm over all timed calls in milliseconds: median, quartiles, and whiskers from 1 % to 99 %.

        Args:
            shape: as for :meth:`tradeoff`.
            ax: where to draw.

        Raises:
            BadInput: if matplotlib is missing or nothing was timed at that shape.

        """
        timed = [result for result in self._results if result.latency]
        if not timed:
            raise BadInput([Mistake("plot.latency", "needs a run that was timed; there is none")])
        at = [(result, _at(result, shape or _key(timed[0].latency[0]))) for result in timed]
        first = at[0][1]
        boxes = {arm: first.arms[arm] for arm in (speedups.BASELINE, "onnx-float")}
        boxes |= {result.run.name: latency.arms["optimized"] for result, latency in at}
        axes = _axes(ax)
        samples = [speedups.samples_ms(arm) for arm in boxes.values()]
        axes.boxplot(samples, orientation="horizontal", whis=WHISKERS, showfliers=False)
        axes.set_yticks(range(1, len(boxes) + 1), ["\n".join(wrap(name, LABEL)) for name in boxes])
        axes.invert_yaxis()
        axes.set_xlabel(f"milliseconds per call, {shape_name(first)}")
        axes.set_xlim(left=0)
        return cast("Axes", axes)


def _point(axes: Any, result: Result, latency: Latency, metric: str) -> None:
    difference = losses.differences(result)[metric]
    milliseconds = speedups.mean_ms(latency.arms["optimized"])
    reach = [[difference.high - difference.value], [difference.value - difference.low]]  # a loss is its negative
    axes.errorbar([milliseconds], [-difference.value], yerr=reach, fmt="o", capsize=3, label=result.run.name)


def _key(latency: Latency) -> tuple[int, InputLength | None]:
    return latency.batch_size, latency.input_length


def _at(result: Result, shape: ShapeKey) -> Latency:
    """What a result measured at a shape."""
    wanted = (shape[0], shape[1] if len(shape) > 1 else None)
    for latency in result.latency:
        if _key(latency) == wanted:
            return latency
    known = ", ".join(str(_key(latency)) for latency in result.latency)
    raise BadInput([Mistake(f"shape {wanted}", f"was not timed by {result.run.name}; there is: {known}")])


def _axes(ax: Axes | None) -> Any:
    """The given Axes, or new ones."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        message = "needs matplotlib, which is not installed: pip install 'quantbench[plots]'"
        raise BadInput([Mistake("plot", message)]) from error
    return pyplot.subplots(layout="constrained")[1]

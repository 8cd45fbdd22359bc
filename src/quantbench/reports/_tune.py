"""What a search found, as text for people (``tune.md``), a picture (``front.svg``) and data (``summary.json``)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from pydantic import JsonValue

from quantbench.analysis import losses, speedups
from quantbench.analysis.intervals import Interval
from quantbench.plugins import registry
from quantbench.reports import _screening, _sections
from quantbench.reports._markdown import spread, table
from quantbench.schema.results import Result
from quantbench.schema.settings import Config, Dimension
from quantbench.tune import finals
from quantbench.tune.state import GroupSensitivity, Tuned

FILE = "tune.md"
PICTURE = "front.svg"


def render(config: Config, tuned: Tuned, results: Sequence[Result], evaluations: float) -> str:
    """The whole report as Markdown.

    Args:
        config: the benchmark's configuration.
        tuned: the finished search.
        results: of the finalists, on the evaluation split.
        evaluations: forwards spent, in units of one evaluation.

    """
    if not tuned.finalists and tuned.screening is not None:
        return _screened(config, tuned, evaluations)
    done = [result for result in results if result.done]
    shown = config.model_copy(update={"dimensions": (Dimension(key="version", values=("-",)),)})
    named = [_named(result) for result in done]
    parts = [
        f"# Which version of `{config.base.model_name_or_path}` to deploy",
        _answer(tuned, done),
        *_screening.section(tuned),
        "## Loss against latency",
        _pareto_front(tuned, done),
        f"![loss against latency]({PICTURE})" if find_spec("matplotlib") else "",
        "## How fast the finalists are",
        _sections.speed_table(shown, named),
        _sections.busy_machine(done),
        "## What the finalists lose",
        "On the evaluation split, whose scores took no part in the search.\n\n" + _sections.loss_table(shown, named),
        _notes(done),
        "## What was tried",
        _tried(tuned),
        "## What int8 costs and saves, by group of products",
        _groups(tuned, done),
        "## What the search cost",
        _cost(tuned, evaluations),
        _deployment(tuned),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _screened(config: Config, tuned: Tuned, evaluations: float) -> str:
    """The report of a search that ended with its screening."""
    parts = [
        f"# Which candidates for `{config.base.model_name_or_path}` are in question",
        _screening.text(tuned),
        "The same command without `--screen-only` searches these for the version to deploy.",
        "## What the search cost",
        _cost(tuned, evaluations),
    ]
    return "\n\n".join(parts) + "\n"


def _named(result: Result) -> Result:
    run = result.run.model_copy(update={"benchmarked": {"version": result.run.name}})
    return result.model_copy(update={"run": run})


def _answer(tuned: Tuned, done: Sequence[Result]) -> str:
    limits = ", ".join(
        f"{limit.metric} by {100 * limit.drop:g} % of the original's"
        if limit.relative
        else f"{limit.metric} by {limit.drop:g}"
        for limit in tuned.limits
    )
    asked = f"Asked for: the fastest version that loses at most {limits}{_taking(tuned)}."
    if not tuned.tried:
        why = f": {tuned.stopped}" if tuned.stopped else ""
        asked = f"**No version in int8 was tried{why.rstrip('.')}.** The choice is among the others.\n\n{asked}"
    elif tuned.stopped:
        more = "A larger --max-time or --max-evaluations, with another --out, tries more"
        asked = f"**The search was cut short: {tuned.stopped.rstrip('.')}.** {more}.\n\n{asked}"
    best = next((result for result in done if result.run.name == tuned.fastest), None)
    if best is None:
        near = min(done, key=lambda result: -_difference(result, tuned).value, default=None)
        tail = f" The nearest was {near.run.name}: {spread(_difference(near, tuned), 4, '+')}." if near else ""
        return f"{asked}\n\n**No version keeps within the limit on the evaluation split: deploy the original.**{tail}"
    judged = speedups.speedups([best])
    pairs = [
        (speedup, speedups.shape_name(latency))
        for index, latency in enumerate(best.latency)
        for speedup in judged[best.run.key, index]
        if speedup.arm == "optimized"
    ]
    names = {_sections.CHECKPOINTS: _sections.original_name([best])}
    speeds = [_fast(speedup, names.get(speedup.against, speedup.against), shape) for speedup, shape in pairs]
    lost = f"{tuned.limits[0].metric} changes by {spread(_difference(best, tuned), 4, '+')}"
    told = f"{', '.join(speeds)}; {lost} on the evaluation split{_not_sure(best, tuned)}."
    standing, name = speedups.standing(best), best.run.name
    if standing == "unknown":
        nothing = "**Nothing is known to be faster yet**, so there is no models/best."
        return f"{asked}\n\n{nothing} {name} keeps within the limit: {told}"
    if standing == "not faster":
        nothing = "**No version within the limit is known to be faster than the original: deploy the original.**"
        return f"{asked}\n\n{nothing} The fastest was {name}: {told}"
    return f"{asked}\n\n**Deploy {name}**: {told}"


def _taking(tuned: Tuned) -> str:
    """What a version may take up, in words; empty where that was not asked."""
    asked = ((tuned.most.size, "is at most {} large"), (tuned.most.memory, "takes at most {} of memory"))
    return "".join(f" and {words.format(f'{count / 1e6:g} MB')}" for count, words in asked if count is not None)


def _not_sure(best: Result, tuned: Tuned) -> str:
    """What is told where the interval of a loss reaches beyond its limit; empty where all keep within theirs."""
    differences, original = losses.differences(best), best.scores["original"]
    limits = {limit.metric: limit.absolute(original.metrics[limit.metric]) for limit in tuned.limits}
    open_ones = [metric for metric, limit in limits.items() if -differences[metric].low > limit]
    if not open_ones:
        return ""
    return f"; {original.examples} examples do not settle whether {' and '.join(open_ones)} keeps within the limit"


def _fast(speedup: speedups.Speedup, against: str, shape: str) -> str:
    """A speedup in words; without an interval it is none."""
    if speedup.interval is None:
        short = "too few slots, a longer time_benchmark_args.duration has more"
        return f"how fast against {against} at {shape} is not known ({short})"
    return f"{spread(speedup.interval, 2)} times as fast as {against} at {shape}"


def _difference(result: Result, tuned: Tuned) -> Interval:
    return losses.differences(result)[tuned.limits[0].metric]


def points(tuned: Tuned, done: Sequence[Result]) -> list[tuple[str, float, float]]:
    """(name, loss, milliseconds at the first shape) of the original, its export and every finalist."""
    metric, found = tuned.limits[0].metric, []
    for result in done:
        original = result.scores["original"].metrics[metric]
        arms = result.latency[0].arms
        found.append(
            (
                result.run.name,
                original - result.scores["optimized"].metrics[metric],
                speedups.mean_ms(arms["optimized"]),
            )
        )
    if done:
        arms = done[0].latency[0].arms
        found += [
            (name, 0.0, speedups.mean_ms(arms[arm]))
            for name, arm in (("original", "pytorch"), ("onnx-float", "onnx-float"))
        ]
    return found


def _pareto_front(tuned: Tuned, done: Sequence[Result]) -> str:
    metric = tuned.limits[0].metric
    shape = speedups.shape_name(done[0].latency[0]) if done else ""
    rows = [
        [
            f"`{name}`",
            f"{loss:+.4f}",
            f"{milliseconds:.2f}",
            *(f"{count / 1e6:.1f}" if count else "–" for count in _taken_up(name, done)),
            "yes" if name in tuned.front else "–",
        ]
        for name, loss, milliseconds in sorted(points(tuned, done), key=lambda point: point[2])
    ]
    measured = [f"{metric} lost", f"mean, ms at {shape}", "files, MB", "peak memory, MB"]
    return table(["version", *measured, "on the Pareto front"], rows)


def _taken_up(name: str, done: Sequence[Result]) -> tuple[int, int]:
    """Bytes of a point's files, and of the process that was timed with it; 0 where these are not known."""
    for result in done:
        if result.run.name == name:
            return result.artifact.bytes if result.artifact else 0, finals.peak_memory(result)
    arm, size = ("onnx-float", int(str(done[0].float_artifact["bytes"]))) if name == "onnx-float" else ("pytorch", 0)
    return size, max(finals.peak_memory(result, arm) for result in done)


def picture(tuned: Tuned, done: Sequence[Result]) -> str | None:
    """The finalists' loss against latency as SVG; None without the extra ``plots``."""
    if find_spec("matplotlib") is None or not done:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, loss, milliseconds in points(tuned, done):
        chosen = name == tuned.best
        axes.scatter([milliseconds], [loss], s=70 if chosen else 35, marker="*" if chosen else "o", label=name)
        axes.annotate(name, (milliseconds, loss), xytext=(4, 4), textcoords="offset points", fontsize=8)
    limit = tuned.limits[0]
    if not limit.relative:
        axes.axhline(limit.drop, linestyle="--", linewidth=1, color="grey")
    axes.set_xlabel(f"milliseconds per call, {speedups.shape_name(done[0].latency[0])}")
    axes.set_ylabel(f"{limit.metric} lost")
    axes.set_xlim(left=0)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _notes(done: Sequence[Result]) -> str:
    """What a reader of the scores must know."""
    return "\n".join(f"* {note}" for note in _sections.notes(done))


def _tried(tuned: Tuned) -> str:
    metric = tuned.limits[0].metric
    rows = [
        [
            f"`{item.name}`",
            f"{1000 * item.seconds:.2f}",
            spread(Interval(*item.losses[metric]), 4, "+"),
            str(item.examples),
            item.verdict,
        ]
        for item in tuned.tried
    ]
    header = ["version", "predicted, ms", f"{metric} lost on tuning examples", "examples", "verdict"]
    told = {family.candidate for family in tuned.screening.families if family.why} if tuned.screening else set()
    left_out = {name: reason for name, reason in tuned.failures.items() if name not in told}
    skipped = [f"* `{name}` was left out: {reason}" for name, reason in left_out.items()]
    probes = ", ".join(
        f"`{name}` {1000 * seconds:.2f} ms" for name, seconds in sorted(tuned.probes.items(), key=lambda p: p[1])
    )
    return "\n\n".join(
        [f"First versions, probed: {probes}.", table(header, rows) if rows else "", "\n".join(skipped), tuned.stopped]
    ).strip()


def kinds(groups: Sequence[GroupSensitivity]) -> dict[str, list[GroupSensitivity]]:
    """Groups of the same kind in every layer, by their first product's name with ``*`` for numbers."""
    found: dict[str, list[GroupSensitivity]] = {}
    for group in groups:
        found.setdefault(re.sub(r"\d+", "*", group.products[0]), []).append(group)
    return found


def _groups(tuned: Tuned, done: Sequence[Result]) -> str:
    """Sensitivity and milliseconds of every group of products."""
    total = sum(group.multiplications for group in tuned.groups)
    base = tuned.probes.get("onnx-float", 0.0)
    plain = registry.float_runtime("pytorch")
    gains = {mode: max(0.0, base - tuned.probes.get(f"{plain}-{mode}", base)) for mode in ("dynamic", "static")}
    if not tuned.groups and any(result.original != _sections.CHECKPOINTS for result in done):
        return "Not measured: that takes a way back through the model, which an ONNX file does not have."
    if not tuned.groups:
        return "No sensitivities were measured: there was no time, or no candidate in question has products to place."
    rows = []
    for kind, members in kinds(tuned.groups).items():
        share = sum(group.multiplications for group in members) / total
        sensitivities = [f"{sum(group.sensitivity[mode] for group in members):.2e}" for mode in gains]
        saved = [f"{1000 * gain * share:.2f}" for gain in gains.values()]
        rows.append([f"`{kind}`", str(len(members)), *sensitivities, *saved])
    measures = [f"{what}, {mode}" for what in ("sensitivity", "saves, ms") for mode in gains]
    header = ["products like", "groups", *measures]
    note = (
        "Sensitivity is the expected divergence of the outputs in nats per token, from one pass forward and back. "
        "Milliseconds are the share of all multiplications, times what int8 saves ONNX Runtime where it was probed."
    )
    return f"{table(header, rows)}\n\n{note}"


def _cost(tuned: Tuned, evaluations: float) -> str:
    phases = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in tuned.seconds.items())
    return f"{evaluations:.2f} evaluations' worth of forwards; {phases}; {sum(tuned.seconds.values()):.0f} s in all."


def _deployment(tuned: Tuned) -> str:
    if tuned.best is None:
        return ""
    return (
        '## Deploy\n\n`models/best` holds the model, its tokenizer and a script: `python models/best/infer.py "text"`. '
        "`models/best/recipe.yaml` makes it again: `quantbench run models/best/recipe.yaml`."
    )


def data(tuned: Tuned, evaluations: float) -> dict[str, JsonValue]:
    """What ``summary.json`` gains from a search."""
    document: dict[str, Any] = {
        "best": tuned.best,
        "front": list(tuned.front),
        "screening": tuned.screening.model_dump(mode="json") if tuned.screening else None,
        "limits": [limit.model_dump() for limit in tuned.limits],
        **{f"max_{name}": count for name, count in tuned.most.model_dump().items() if count is not None},
        "evaluations": round(evaluations, 3),
        "seconds": {phase: round(seconds, 2) for phase, seconds in tuned.seconds.items()},
    }
    return document

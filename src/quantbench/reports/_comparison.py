"""Two folders held against each other, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from quantbench.analysis import speedups
from quantbench.analysis.compare import Compared, compare
from quantbench.analysis.intervals import ALPHA, Interval, holm, paired_bootstrap, verdict
from quantbench.analysis.pairing import Pair, pairs
from quantbench.analysis.speedups import shape_name
from quantbench.plugins import registry
from quantbench.reports._markdown import spread, table
from quantbench.schema.results import Result

OTHER_STATE = (
    f"Where equal files reach less than {100 * speedups.SAME_SPEED:.0f} % of their speed in the other session, the "
    "machine was in another state (a neighbour on the same cores, another clock) and speedups are not comparable: time "
    "both versions in one session, or repeat the slower one."
)


def render(first: Sequence[Result], second: Sequence[Result]) -> str:
    """Markdown tables of speed and quality, as far as both were measured alike, and what was not."""
    found = pairs(first, second)
    parts = [
        ("Speed", _speed(compare(first, second))),
        ("Quality of the optimized model", _quality(found)),
        ("Not compared", _not_compared(first, second, found)),
        ("What else differs", "\n".join(_grouped([(pair.name, ", ".join(pair.differing)) for pair in found]))),
    ]
    return "\n\n".join(f"## {title}\n{text}" for title, text in parts if text) + "\n"


def judged(rows: Sequence[Compared]) -> list[tuple[Compared, str]]:
    """Rows with their verdicts, corrected for their number: what the second folder is."""
    adjusted = holm([row.p_value for row in rows])
    return [(row, _verdict(row, p_value)) for row, p_value in zip(rows, adjusted, strict=True)]


def _verdict(row: Compared, p_value: float) -> str:
    if row.ratio is None or row.floor is None or not row.same_state:
        return "inconclusive"
    return verdict(row.ratio, p_value, row.floor)


def qualities(found: Sequence[Pair]) -> list[tuple[str, str, Interval, str]]:
    """(run, metric, second minus first with its interval, verdict) wherever both were scored alike.

    A score is ``better`` or ``worse`` where its interval excludes 0 after Holm's correction for the number of rows;
    p-values are those of the normal distribution whose 95 % interval reaches as far towards 0.
    """
    rows = []
    for pair in found:
        if pair.not_scored_alike or not (pair.first.scores and pair.second.scores):
            continue
        one, two = pair.first.scores["optimized"], pair.second.scores["optimized"]
        metrics = partial(registry.task(pair.first.run.settings.task).metrics, one.columns)
        differences = paired_bootstrap(one.outcomes, two.outcomes, metrics)
        rows += [(pair.name, name, differences[name]) for name in one.metrics if name in two.metrics]
    adjusted = holm([difference.p_value for _, _, difference in rows])
    return [(*row, _changed(row[2], p_value)) for row, p_value in zip(rows, adjusted, strict=True)]


def _changed(difference: Interval, p_value: float) -> str:
    if p_value >= ALPHA:
        return "undecided"
    return "better" if difference.value > 0 else "worse"


def _speed(rows: Sequence[Compared]) -> str:
    cells = [
        [
            f"`{row.name}`",
            row.shape,
            f"{row.first_ms:.2f}",
            f"{row.second_ms:.2f}",
            spread(row.ratio, 3) if row.ratio else "too few slots",
            "unknown" if row.floor is None else f"{100 * row.floor:.1f} %",
            f"{100 * row.speed:.0f} %",
            word,
        ]
        for row, word in judged(rows)
    ]
    header = [
        "run",
        "shape",
        "A optimized, ms",
        "B optimized, ms",
        "speedup in B over speedup in A",
        "noise floor",
        "speed of the machine in B",
        "B is",
    ]
    states = "" if all(row.same_state for row in rows) else f"\n\n{OTHER_STATE}"
    return f"{table(header, cells)}{states}"


def _quality(found: Sequence[Pair]) -> str:
    rows = [[f"`{run}`", metric, spread(change, 4, "+"), word] for run, metric, change, word in qualities(found)]
    return table(["run", "metric", "B − A", "B is"], rows)


def _not_compared(first: Sequence[Result], second: Sequence[Result], found: Sequence[Pair]) -> str:
    """Runs and figures that only one folder has, or that were measured in another way."""
    reasons = []
    for pair in found:
        reasons += [(pair.name, f"speed ({reason})") for reason in pair.not_timed_alike if _shapes(pair)]
        reasons += [(pair.name, f"quality ({reason})") for reason in pair.not_scored_alike]
        if not pair.not_timed_alike:
            left = _shapes(pair) - {shape_name(shape) for shape, _ in pair.latencies()}
            reasons += [(pair.name, f"speed at {shape} (not timed alike in both)") for shape in sorted(left)]
        if bool(pair.first.scores) != bool(pair.second.scores):
            reasons.append((pair.name, "quality (evaluated in one only)"))
    taken = {id(result) for pair in found for result in (pair.first, pair.second)}
    for folder, results in (("A", first), ("B", second)):
        reasons += [(r.run.name, f"in {folder} only") for r in results if r.done and id(r) not in taken]
        reasons += [(result.run.name, f"failed in {folder}") for result in results if not result.done]
    return "\n".join(_grouped(reasons))


def _shapes(pair: Pair) -> set[str]:
    return {shape_name(shape) for result in (pair.first, pair.second) for shape in result.latency}


def _grouped(told: Sequence[tuple[str, str]]) -> list[str]:
    """A line for every text that is told of runs, with their names."""
    runs: dict[str, list[str]] = {}
    for name, text in told:
        runs.setdefault(text, []).append(f"`{name}`")
    return [f"* {text}: {', '.join(names)}" for text, names in runs.items() if text]

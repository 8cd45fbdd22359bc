"""Which estimator of the ratio of two arms covers the truth, and how widely, over the sessions of ``bench coverage``.

    python -m bench estimators --folder runs/coverage

The truth of an estimator is the mean of its own values over the sessions of the condition ``truth``, so that none is
blamed for another's estimand; where there are none, over the idle sessions but the one that is judged. A call of the
null is a verdict about a file against itself, made as on a card.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from bench import calm_rounds, coverage, rendering
from quantbench.analysis import speedups, undisturbed
from quantbench.analysis.compare import compare
from quantbench.analysis.intervals import ALPHA, Interval, Z, inflation, verdict
from quantbench.analysis.speedups import BASELINE, NULL
from quantbench.analysis.undisturbed import Array
from quantbench.config.plan import make_plan
from quantbench.reports import _comparison
from quantbench.reports._markdown import table
from quantbench.schema.results import ArmLatency, Latency
from quantbench.system.environment import detect

Estimator = Callable[[Mapping[str, ArmLatency], str, str, bool], Interval | None]
"""From all arms, the names of two and whether calls differ in length: the logarithm of how much faster the first is."""
Statistic = Callable[[Array], Array]
"""What stands for arms: from logarithms of slots, shape (draws, rounds), to shape (draws,)."""
EM_STEPS = 20
LEAST_WEIGHT = 0.05
"""Of the faster state of a mixture."""
FAST = 0.3
"""Share of the slots whose order in time tells how long noise lasts that quantiles depend on."""
IDLE = "idle"
RUN_ARMS = (BASELINE, "onnx-float", "optimized", NULL)


def present(arms: Mapping[str, ArmLatency], arm: str, against: str, mixed: bool) -> Interval | None:
    """The one that reports use."""
    found = undisturbed.session(arms, mixed)
    return found.ratio(arm, against).interval if found else None


def drawn(statistic: Statistic, length: int | None = None, resamples: int = undisturbed.RESAMPLES) -> Estimator:
    """Another statistic of both arms, by the same draws of blocks, of a fixed length or one found from the data."""

    def estimate(arms: Mapping[str, ArmLatency], arm: str, against: str, mixed: bool) -> Interval | None:
        slots = [undisturbed.middles(arms[name], mixed) for name in (against, arm)]
        places = sorted(slots[0].keys() & slots[1].keys())
        if len(places) < undisturbed.FEWEST_ROUNDS:
            return None
        logs = [np.log([found[place] for place in places]) for found in slots]
        rounds = [len(places)]
        long = length or _block_length(logs)
        blocks = max(2.0, len(places) / long)
        stretch = float(stdtrit(blocks - 1, 1 - ALPHA / 2)) / Z / math.sqrt(1 - 1 / blocks)
        value = float((statistic(logs[0][None]) - statistic(logs[1][None]))[0])
        parts = [
            statistic(logs[0][index]) - statistic(logs[1][index])
            for index in undisturbed.draws(rounds, long, resamples)
        ]
        low, high = np.percentile(np.concatenate(parts), (100 * ALPHA / 2, 100 - 100 * ALPHA / 2))
        return Interval(value, value + stretch * min(0.0, low - value), value + stretch * max(0.0, high - value))

    return estimate


def _block_length(arms: Sequence[Array]) -> int:
    """Twice as long as the noise of the fast slots lasts, in the arm where it lasts longest."""
    lasts = max(inflation(np.minimum(values, np.quantile(values, FAST))) for values in arms)
    return max(1, min(math.ceil(2 * lasts), len(arms[0]) // undisturbed.FEWEST_BLOCKS))


def quantile(share: float) -> Statistic:
    """A quantile of the slots."""
    return lambda logs: np.quantile(logs, share, axis=1)


def fastest_mean(share: float) -> Statistic:
    """The mean of a share of the slots, the fastest."""
    return lambda logs: np.sort(logs, axis=1)[:, : max(1, round(share * logs.shape[1]))].mean(axis=1)


def faster_state(logs: Array) -> Array:
    """The lower mean of a mixture of two normal distributions, by expectation and maximization from the quartiles."""
    quarter = max(2, logs.shape[1] // 4)
    ranked = np.sort(logs, axis=1)
    low, high = ranked[:, :quarter].mean(axis=1)[:, None], ranked[:, -quarter:].mean(axis=1)[:, None]
    narrow = wide = np.maximum(logs.std(axis=1)[:, None] / 2, 1e-4)
    weight = np.full_like(low, 0.5)
    for _ in range(EM_STEPS):
        first = weight / narrow * np.exp(-(((logs - low) / narrow) ** 2) / 2)
        second = (1 - weight) / wide * np.exp(-(((logs - high) / wide) ** 2) / 2)
        share = first / (first + second + 1e-300)
        known, others = share.sum(axis=1)[:, None] + 1e-9, (1 - share).sum(axis=1)[:, None] + 1e-9
        low, high = (share * logs).sum(axis=1)[:, None] / known, ((1 - share) * logs).sum(axis=1)[:, None] / others
        narrow = np.sqrt((share * (logs - low) ** 2).sum(axis=1)[:, None] / known + 1e-8)
        wide = np.sqrt(((1 - share) * (logs - high) ** 2).sum(axis=1)[:, None] / others + 1e-8)
        weight = np.clip(known / logs.shape[1], LEAST_WEIGHT, 1 - LEAST_WEIGHT)
    found: Array = np.minimum(low, high)[:, 0]
    return found


ESTIMATORS: dict[str, Estimator] = {
    "**weighted median of rounds**": present,
    "calm rounds, Hodges-Lehmann": calm_rounds.log_ratio,
    "5 % quantile": drawn(quantile(0.05)),
    "10 % quantile": drawn(quantile(0.1)),
    "25 % quantile": drawn(quantile(0.25)),
    "median": drawn(quantile(0.5)),
    "mean of the fastest quarter": drawn(fastest_mean(0.25)),
    "faster of two states": drawn(faster_state, resamples=200),
}


def main(arguments: Sequence[str]) -> None:
    """Print the tables of a folder of recorded sessions."""
    parser = argparse.ArgumentParser(prog="python -m bench estimators", description=__doc__)
    parser.add_argument("--folder", type=Path, default=coverage.FOLDER)
    print(report(parser.parse_args(arguments).folder))


def report(folder: Path) -> str:
    """Markdown: coverage and median half width of every estimator by condition, then calls of the null."""
    recorded = {condition: list(coverage.sessions(folder, condition)) for condition in coverage.LOADS}
    conditions = [name for name, found in recorded.items() if found and name != coverage.TRUTH]
    truths = coverage.TRUTH if recorded[coverage.TRUTH] else IDLE
    header = ["estimator", *(f"{name} ({len(recorded[name])} sessions)" for name in conditions)]
    rows = []
    for name, estimator in ESTIMATORS.items():
        found = {one: [_estimates(estimator, session) for session in recorded[one]] for one in {*conditions, truths}}
        rows.append([name, *(told(list(_seen(found[one], found[truths]))) for one in conditions)])
    called = [f"{_calls(recorded[name])} of {len(recorded[name])}" for name in conditions]
    changed = [_changes(recorded[name]) for name in conditions]
    return "\n\n".join(
        [
            "Intervals that cover the truth, median half width of those there are:",
            table(header, rows),
            "Files that differ from themselves: as verdicts on a card have it, and between two sessions as "
            "`quantbench compare` has it",
            table(["", *conditions], [["within a session", *called], ["between two", *changed]]),
        ]
    )


def told(seen: Sequence[tuple[bool, float] | None]) -> str:
    """Coverage and median half width in one cell; sessions without an interval are counted apart."""
    known = [one for one in seen if one is not None]
    if not known:
        return "no interval"
    covered = 100 * statistics.fmean(covers for covers, _ in known)
    text = f"{covered:.0f} %, ±{100 * statistics.median(width for _, width in known):.2f} %"
    return text if len(known) == len(seen) else f"{text} ({len(seen) - len(known)} without)"


def _estimates(estimator: Estimator, session: Latency) -> dict[str, Interval | None]:
    """Of every arm against the first."""
    return {name: estimator(session.arms, name, BASELINE, session.mixed) for name in _compared(session)}


def _seen(
    judged: Sequence[Mapping[str, Interval | None]], truths: Sequence[Mapping[str, Interval | None]]
) -> Iterator[tuple[bool, float] | None]:
    """Whether each interval covers the truth, and its half width; none is judged by its own session."""
    for estimates in judged:
        for name, interval in estimates.items():
            values = [found.value for one in truths if one is not estimates and (found := one[name]) is not None]
            if interval is None or not values:
                yield None
                continue
            truth = 0.0 if name == NULL else statistics.fmean(values)
            yield interval.low <= truth <= interval.high, interval.half_width


def _compared(latency: Latency) -> list[str]:
    return [name for name in latency.arms if name != BASELINE]


def _calls(sessions: Sequence[Latency]) -> int:
    """How often the same file is called faster or slower than itself, with the noise floor of the session before.

    The null arm of a session cannot judge itself.
    """
    called = 0
    for latency, before in zip(sessions, [sessions[-1], *sessions], strict=False):
        found, floor = speedups.log_ratio(latency, NULL, BASELINE), speedups.noise_floor(before)
        if found is not None and floor is not None:
            called += verdict(found.interval.exp(), found.p_value, floor) != "inconclusive"
    return called


def _changes(sessions: Sequence[Latency]) -> str:
    """In how many pairs of sessions of the same files ``quantbench compare`` calls any of them faster or slower."""
    run = make_plan(rendering.grid(1)).runs[0]
    environment = detect()
    called, pairs = 0, list(zip(sessions[::2], sessions[1::2], strict=False))
    for pair in pairs:
        one, other = ([rendering.made(run, environment, _as_run(session))] for session in pair)
        called += any(word != "inconclusive" for _, word in _comparison.judged(compare(one, other)))
    return f"{called} of {len(pairs)}"


def _as_run(session: Latency) -> Latency:
    """A session as that of a run whose optimized model is the slowest file."""
    arms = dict(zip(RUN_ARMS, (BASELINE, "3%", "60%", NULL), strict=True))
    found = {name: session.arms[arm] for name, arm in arms.items()}
    return session.model_copy(update={"arms": found})

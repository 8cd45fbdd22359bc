"""Results as tables for pandas. Every figure is that of ``summary.json``, from the same functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quantbench.analysis.machines import by_machine
from quantbench.errors import BadInput, Mistake
from quantbench.reports import summary
from quantbench.schema.results import ArmLatency, Latency, Result

if TYPE_CHECKING:
    import pandas

CALLS = ("run", "machine", "batch_size", "input_length", "arm", "launch", "round", "order", "call", "milliseconds")
"""Columns of raw samples."""
AGAINST = {"pytorch": "pytorch", "onnx-float": "onnx_float"}
"""Arms that the optimized model is compared with, and what columns call them."""
ARMS = {**AGAINST, "optimized": "optimized"}


def frame(rows: Sequence[Mapping[str, Any]], columns: Iterable[str] = ()) -> pandas.DataFrame:
    """Rows as a DataFrame, with these columns where there are no rows.

    Raises:
        BadInput: if pandas is not installed.

    """
    try:
        import pandas
    except ImportError as error:
        message = "needs pandas, which is not installed: pip install pandas"
        raise BadInput([Mistake("to_dataframe", message)]) from error
    return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=list(columns))


def runs(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row per run and shape; one without times where a run was not timed or failed."""
    found = []
    ordered = [result for group in by_machine(results) for result in group]
    for result, row in zip(ordered, summary.rows(results), strict=True):
        for latency in row["latency"] or [None]:
            found.append({**_what(row, result), **_quality(row), **_times(latency), **_rest(row)})
    return found


def _what(row: Mapping[str, Any], result: Result) -> dict[str, Any]:
    values = {key: _cell(value) for key, value in result.run.benchmarked.items()}
    return {"run": row["name"], **values, "status": row["status"], "machine": row["machine"]}


def _cell(value: Any) -> Any:
    """A benchmarked value that can be grouped by: lists and mappings as text."""
    return str(value) if isinstance(value, (list, dict)) else value


def _quality(row: Mapping[str, Any]) -> dict[str, float]:
    """Values of every metric and its loss, original minus optimized, so that more is worse."""
    found: dict[str, float] = {}
    for name, values in row["metrics"].items():
        difference = row["difference"][name]
        found[f"{name}_original"], found[f"{name}_optimized"] = values["original"], values["optimized"]
        found[f"{name}_loss"] = 0.0 - difference["value"]  # no loss is 0, not -0
        found[f"{name}_loss_low"] = 0.0 - difference["high"]
        found[f"{name}_loss_high"] = 0.0 - difference["low"]
    return found


def _times(latency: Mapping[str, Any] | None) -> dict[str, Any]:
    """Means in milliseconds, and the speedup of the optimized model over each of the others."""
    if latency is None:
        return {}
    found = {name: latency[name] for name in ("batch_size", "input_length")}
    found |= {f"{name}_ms": latency["arms"][arm]["mean_ms"] for arm, name in ARMS.items() if arm in latency["arms"]}
    for speedup in latency["speedup"]:
        if speedup["arm"] == "optimized":
            name = f"speedup_over_{AGAINST[speedup['against']]}"
            found[name] = speedup["ratio"]
            found |= {f"{name}_{part}": speedup[part] for part in ("low", "high", "verdict")}
    return {**found, "noise_floor": latency["noise_floor"]}


def _rest(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"bytes": row["artifact"]["bytes"] if row["artifact"] else None, "reason": row["reason"]}


def calls(results: Iterable[Result]) -> list[dict[str, Any]]:
    """A row per timed call, with the columns of ``CALLS``; ``call`` counts within a slot."""
    return [
        {"run": result.run.name, "machine": result.environment.host, **call}
        for result in results
        for latency in result.latency
        for call in calls_at(latency)
    ]


def calls_at(latency: Latency) -> Iterator[dict[str, Any]]:
    """A row per timed call at one shape."""
    shape = {"batch_size": latency.batch_size, "input_length": latency.input_length}
    for name, arm in latency.arms.items():
        for sample in _samples(arm):
            yield {**shape, "arm": name, **sample}


def _samples(arm: ArmLatency) -> Iterator[dict[str, Any]]:
    for slot in arm.slots:
        place = {"launch": slot.launch, "round": slot.round, "order": slot.order}
        for call, nanoseconds in enumerate(slot.nanoseconds):
            yield {**place, "call": call, "milliseconds": nanoseconds / 1e6}

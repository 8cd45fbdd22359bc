"""``summary.json``: one row per run for programs. Raw samples and per-example outcomes stay in ``results/``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from quantbench.analysis import losses, speedups
from quantbench.analysis.machines import by_machine
from quantbench.analysis.undisturbed import undisturbed_ms
from quantbench.plugins.former import in_order
from quantbench.reports._sections import CHECKPOINTS
from quantbench.schema.results import SCHEMA_VERSION, ArmLatency, Latency, Result, Skipped
from quantbench.schema.settings import Config

SUMMARY = "one row per run, for programs (summary.json)"
FILE = "summary.json"


def render(config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """The summary as JSON text."""
    machines = by_machine(results)
    document = {
        "schema": SCHEMA_VERSION,
        "environment": results[0].environment.model_dump(mode="json") if results else None,
        "machines": [group[0].environment.model_dump(mode="json") for group in machines],
        "runs": rows(results),
        "skipped": [item.model_dump(mode="json") for item in skipped],
    }
    return json.dumps(document, indent=2) + "\n"


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row per run; those of one machine, which alone are compared with each other, stand together."""
    return [row for number, group in enumerate(by_machine(results)) for row in _rows(group, number)]


def _rows(group: Sequence[Result], machine: int) -> list[dict[str, Any]]:
    """Rows of the runs of one machine, which alone are compared with each other."""
    twins, judged = speedups.twins(group), speedups.speedups(group)
    return [{**_run(result, twins, judged), "machine": machine, "job": result.job} for result in group]


def _run(
    result: Result, twins: dict[str, str], judged: dict[tuple[str, int], list[speedups.Speedup]]
) -> dict[str, Any]:
    artifact = result.artifact
    return {
        "name": result.run.name,
        "key": result.run.key,
        "status": "done" if result.done else "failed",
        "reason": result.failure.reason if result.failure else None,
        "parameters": in_order(result.run.settings.model_dump(mode="json")),
        "metrics": _metrics(result),
        "difference": _differences(result),
        "changed": result.scores["optimized"].changed if result.scores else None,
        "scored_batch_size": result.scores["optimized"].batch_size if result.scores else None,
        "latency": [
            {**_latency(latency), "speedup": [_speedup(item) for item in judged[result.run.key, index]]}
            for index, latency in enumerate(result.latency)
        ],
        "artifact": artifact
        and {
            "path": artifact.path,
            "bytes": artifact.bytes,
            "sha256": artifact.sha256,
            "operators": artifact.operators,
            "excluded": {group: len(nodes) for group, nodes in artifact.excluded.items()},
            "executed": artifact.executed,
            "recipe": artifact.recipe,
            "same_as": twins.get(result.run.key),
        },
        "seconds": result.seconds,
        "notes": list(result.notes),
        **({} if result.original == CHECKPOINTS else {"original": result.original}),
    }


def _metrics(result: Result) -> dict[str, dict[str, float]]:
    names = result.scores["original"].metrics if result.scores else {}
    return {name: {arm: scores.metrics[name] for arm, scores in result.scores.items()} for name in names}


def _differences(result: Result) -> dict[str, dict[str, float]]:
    if not result.scores:
        return {}
    return {
        name: {"value": difference.value, "low": difference.low, "high": difference.high}
        for name, difference in losses.differences(result).items()
    }


def _speedup(speedup: speedups.Speedup) -> dict[str, Any]:
    return {
        "arm": speedup.arm,
        "against": speedup.against,
        "ratio": speedup.ratio,
        "low": speedup.interval.low if speedup.interval else None,
        "high": speedup.interval.high if speedup.interval else None,
        "verdict": speedup.verdict,
        "unstable": speedup.unstable,
        "rounds": speedup.rounds,
    }


def _latency(latency: Latency) -> dict[str, Any]:
    return {
        "batch_size": latency.batch_size,
        "input_length": latency.input_length,
        "noise_floor": speedups.noise_floor(latency),
        "noise": latency.noise.model_dump(mode="json") if latency.noise else None,
        "machine_speed": speedups.machine_speed(latency),
        "extended": latency.extended,
        "arms": {name: _arm(arm, latency) for name, arm in latency.arms.items()},
    }


def _arm(arm: ArmLatency, latency: Latency) -> dict[str, Any]:
    return {
        "mean_ms": speedups.mean_ms(arm),
        "undisturbed_ms": undisturbed_ms(arm, latency.mixed),
        "p50_ms": speedups.percentile_ms(arm, 50),
        "p90_ms": speedups.percentile_ms(arm, 90),
        "p99_ms": speedups.percentile_ms(arm, 99),
        "calls": sum(len(slot.nanoseconds) for slot in arm.slots),
        "calls_per_s": speedups.calls_per_second(arm),
        "samples_per_s": speedups.calls_per_second(arm) * latency.batch_size,
        "load_s": arm.load_seconds,
        "first_call_s": arm.first_call_seconds,
        "peak_memory_bytes": max(arm.peak_memory_bytes, default=None),
        "drift": speedups.drift(arm),
    }

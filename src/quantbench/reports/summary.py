"""``summary.json``: one row per run for programs. Raw samples and per-example outcomes stay in ``results/``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from quantbench import stats
from quantbench.records import SCHEMA_VERSION, ArmLatency, Config, Latency, Result, Skipped

SUMMARY = "one row per run, for programs (summary.json)"
FILE = "summary.json"


def render(config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """The summary as JSON text."""
    document = {
        "schema": SCHEMA_VERSION,
        "environment": results[0].environment.model_dump(mode="json") if results else None,
        "runs": [_run(result, stats.twins(results)) for result in results],
        "skipped": [item.model_dump(mode="json") for item in skipped],
    }
    return json.dumps(document, indent=2) + "\n"


def _run(result: Result, twins: dict[str, str]) -> dict[str, Any]:
    artifact = result.artifact
    return {
        "name": result.run.name,
        "key": result.run.key,
        "status": "done" if result.done else "failed",
        "reason": result.failure.reason if result.failure else None,
        "parameters": result.run.settings.model_dump(mode="json"),
        "metrics": _metrics(result),
        "latency": [_latency(latency) for latency in result.latency],
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
    }


def _metrics(result: Result) -> dict[str, dict[str, float]]:
    names = result.scores["original"].metrics if result.scores else {}
    return {name: {arm: scores.metrics[name] for arm, scores in result.scores.items()} for name in names}


def _latency(latency: Latency) -> dict[str, Any]:
    return {
        "batch_size": latency.batch_size,
        "input_length": latency.input_length,
        "arms": {name: _arm(arm) for name, arm in latency.arms.items()},
    }


def _arm(arm: ArmLatency) -> dict[str, Any]:
    return {
        "mean_ms": stats.mean_ms(arm),
        "p50_ms": stats.percentile_ms(arm, 50),
        "p90_ms": stats.percentile_ms(arm, 90),
        "p99_ms": stats.percentile_ms(arm, 99),
        "calls": sum(len(slot.nanoseconds) for slot in arm.slots),
        "calls_per_s": stats.calls_per_second(arm),
        "load_s": arm.load_seconds,
        "first_call_s": arm.first_call_seconds,
    }

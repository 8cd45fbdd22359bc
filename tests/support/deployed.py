"""A version made and laid down as tune deploys the best one, without a search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import stages

from quantbench.config.load import build_config
from quantbench.config.plan import make_plan
from quantbench.pipeline import predict
from quantbench.pipeline.context import Context
from quantbench.schema.results import Result
from quantbench.tune.deploy import deploy


def made(root: Path, settings: Mapping[str, Any]) -> tuple[Result, Context, Any, Any]:
    """A version that was scored: its result, where it was made, the scored examples and predictions."""
    config = build_config(dict(settings), {}, "test.yaml")
    (run,) = make_plan(config).runs
    bench = stages.context_at(root / "cache")
    artifact, spec = stages.optimized(run, root / "models", bench)
    size = predict.scored_batch_size(run.settings)
    found = stages.predictions(spec, run.settings, bench, size).rows
    result = Result(run=run, environment=bench.environment, artifact=artifact)
    return result, bench, stages.examples(run.settings, bench), found


def deployed(root: Path, settings: Mapping[str, Any]) -> tuple[Path, Any, Any]:
    """The folder to deploy, the scored examples and predictions."""
    result, bench, examples, found = made(root, settings)
    return deploy(result, root / "models", bench.threads, bench), examples, found

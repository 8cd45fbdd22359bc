"""A version made and laid down as tune deploys the best one, without a search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantbench.config.load import build_config
from quantbench.config.plan import make_plan
from quantbench.pipeline import predict
from quantbench.pipeline.artifacts import Workbench
from quantbench.pipeline.optimize import optimize
from quantbench.schema.results import Result
from quantbench.system import environment
from quantbench.system.progress import Silent
from quantbench.tune.deploy import deploy


def deployed(root: Path, settings: Mapping[str, Any]) -> tuple[Path, Any, Any]:
    """The folder to deploy, the scored examples and predictions."""
    config = build_config(dict(settings), {}, "test.yaml")
    (run,) = make_plan(config).runs
    bench = Workbench(root / "cache", environment.detect(), Silent())
    artifact, spec = optimize(run, root / "models", bench)
    size = predict.scored_batch_size(run.settings)
    found = bench.predictions(spec, run.settings, "it", size)
    result = Result(run=run, environment=bench.environment, artifact=artifact)
    return deploy(result, root / "models", bench.threads, bench), bench.examples(run.settings), found

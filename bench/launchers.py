"""What launchers cost: the demo's grid of 8 runs on each, and how planning, storing and resuming grow with the runs.

The Ray cluster has two node processes on this machine; SageMaker is moto's server over HTTP, with jobs executed as the
container would be. All on one machine, so that nothing runs side by side: what is compared is overhead.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.support.tiny_models import CONLL_LABELS, write_conll_parquet, write_tiny_distilbert
from tests.support.training_jobs import ARGS, Platform

import quantbench as qb
from quantbench import embedded
from quantbench.api.benchmark import in_order
from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.launchers.ray import SLOT
from quantbench.reports._markdown import table
from quantbench.results.store import Store
from quantbench.schema.settings import Config
from quantbench.system import cache

GRID = {
    "quantization_approach": ["static", "dynamic"],
    "operators_to_quantize": [["MatMul"], ["Add", "MatMul"]],
    "per_channel": [False, True],
}
DURATION = 2
COUNTS = (10, 100, 1000)
QUICK = {"duration": 0.5, "warmup_runs": 1, "precision": 0.9}


def report() -> str:
    """Markdown: the grid on each launcher, and the curves."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _cluster() as address,
        Platform(Path(folder) / "platform") as platform,
    ):
        root = Path(folder)
        os.environ.update(platform.environment)
        backends: dict[str, Any] = {
            "local": {"name": "local"},
            "ray": {"name": "ray", "args": {"address": address}},
            "sagemaker-training": {"name": "sagemaker-training", "args": ARGS},
        }
        parts = [_grids(root, backends)]
        print(parts[-1], flush=True)
        _write_tiny(root)
        for name in ("local", "ray"):
            parts.append(_curve(root, name, backends[name]))
            print(parts[-1], flush=True)
        parts.append(_resuming(root))
    return "## Launchers\n\n" + "\n\n".join(parts)


@contextlib.contextmanager
def _cluster() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, resources={SLOT: 1})
        yield made.address
    finally:
        made.shutdown()


def _grids(root: Path, backends: dict[str, Any]) -> str:
    """The demo's model and data, 8 runs, on every launcher, each with an empty cache."""
    rows, metrics = [], []
    for name, backend in backends.items():
        config = _demo(root / f"{name}.yaml", backend)
        os.environ[cache.VARIABLE] = str(root / f"{name}-cache")
        begin = time.time()
        failed = qb.run(config, out=root / name).failed
        whole = time.time() - begin
        files = sorted((root / name / "results").glob("*.json"), key=lambda path: path.stat().st_mtime)
        results = in_order(config, Store(root / name).results())
        metrics.append([{arm: scores.metrics for arm, scores in result.scores.items()} for result in results])
        measured = sum(result.seconds.get("timing", 0.0) for result in results)
        first = files[0].stat().st_mtime - begin
        rows.append(
            [name, str(len(failed)), f"{whole:.0f}", f"{first:.0f}", f"{measured:.0f}", f"{(whole - measured) / 8:.1f}"]
        )
    same = "the same" if all(other == metrics[0] for other in metrics) else "NOT the same"
    header = ["launcher", "failed runs", "seconds", "to the first stored result, s", "timing, s", "the rest per run, s"]
    text = (
        f"Embedded model and data, 8 runs, {DURATION} s per arm. Metrics of all rows are {same} to the last digit.\n\n"
    )
    return text + table(header, rows)


def _demo(path: Path, backend: Any) -> Config:
    data = yaml.safe_load(embedded.CONFIG.read_text())
    for key in ("benchmarked", "operators_to_quantize", "quantization_approach", "per_channel"):
        data.pop(key, None)
    timing = {"duration": DURATION, "warmup_runs": 3, "precision": 0.9}
    data |= {"backend": backend, "benchmarked": GRID, "time_benchmark_args": timing, "framework_args": {"opset": 17}}
    path.write_text(yaml.safe_dump(data))
    return load_config(path)


def _write_tiny(root: Path) -> None:
    write_tiny_distilbert(root / "model", CONLL_LABELS, activation="relu")
    write_conll_parquet(root / "data", 20)


def _curve(root: Path, name: str, backend: Any) -> str:
    """Trivial runs: each fails because the model has no GELU, after model, data and export were found."""
    rows = []
    os.environ[cache.VARIABLE] = str(root / f"{name}-trivial")
    for count in (1, *COUNTS):
        config = _trivial(root, count, backend)
        begin = time.perf_counter()
        make_plan(config)
        planned = time.perf_counter() - begin
        begin = time.perf_counter()
        qb.run(config, out=root / f"{name}-{count}")
        launched = time.perf_counter() - begin
        rows.append([str(count), f"{1000 * planned:.0f}", f"{launched:.1f}", f"{1000 * launched / count:.1f}"])
    header = ["runs", "planning, ms", "launching and storing, s", "launching and storing, ms per run"]
    note = "The row of 1 run fills the cache and starts the workers."
    return f"Trivial runs through `{name}`. {note}\n\n" + table(header, rows)


def _resuming(root: Path) -> str:
    """A call that finds every run done, which no launcher sees: a measured result stored under each run's key."""
    os.environ[cache.VARIABLE] = str(root / "local-trivial")
    config = _trivial(root, 1, {"name": "local"}, node_exclusion=[], time_benchmark_args=QUICK)
    qb.run(config, out=root / "measured")
    (measured,) = Store(root / "measured").results()
    rows = []
    for count in COUNTS:
        config = _trivial(root, count, {"name": "local"})
        store = Store(root / f"resumed-{count}")
        store.open(config)
        for run in make_plan(config).runs:
            store.save(measured.model_copy(update={"run": run}))
        begin = time.perf_counter()
        assert not qb.run(config, out=store.folder).failed
        seconds = time.perf_counter() - begin
        rows.append([str(count), f"{seconds:.2f}", f"{1000 * seconds / count:.0f}"])
    header = ["runs", "a call with all done, s", "ms per run"]
    return "Resuming: reading what is stored and writing the reports again.\n\n" + table(header, rows)


def _trivial(root: Path, count: int, backend: Any, **changes: Any) -> Config:
    path = root / "trivial.yaml"
    dataset = {
        "path": str(root / "data" / "conll2003"),
        "eval_split": "validation",
        "calibration_split": "train",
        "data_keys": {"primary": "tokens"},
        "ref_keys": ["ner_tags"],
    }
    data = {
        "task": "token-classification",
        "model_name_or_path": str(root / "model"),
        "dataset": dataset,
        "quantization_approach": "static",
        "node_exclusion": ["gelu"],
        "backend": backend,
        "benchmarked": {"calibration.seed": list(range(count))},
        **changes,
    }
    path.write_text(yaml.safe_dump(data))
    return load_config(path)


if __name__ == "__main__":
    print(json.dumps(report()))

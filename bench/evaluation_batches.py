"""Evaluation in sorted batches against one sentence at a time, in turns on the same sentences."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from quantbench import embedded, environment, evaluate, registry
from quantbench.config import load_config
from quantbench.grid import combinations
from quantbench.progress import Silent
from quantbench.quantize.rewrite import write_quantized
from quantbench.records import ArmSpec
from quantbench.registry import Prediction, Processor
from quantbench.settings import Calibration, Settings
from quantbench.tables import table
from quantbench.workbench import Workbench

ROUNDS = 1


def report() -> str:
    """Markdown table: seconds of both ways for the original and for the float export, and the ratio."""
    _, settings = next(combinations(load_config(embedded.CONFIG)))
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        bench = Workbench(Path(cache), environment.detect(), Silent())
        examples = bench.examples(settings)
        for label, spec in (
            ("original (PyTorch)", bench.original(settings)),
            ("float export", bench.float_model(settings)),
            ("int8, static", _int8(bench, settings, Path(cache))),
        ):
            session = registry.runtime(spec.runtime).load(spec, bench.threads)
            rows.append([label, *_measure(session, examples, settings.task, bench.model(settings).processor)])
    header = ["arm", "one at a time, s", "sorted batches, s", "ratio", "sentences whose prediction differs"]
    return f"## Evaluation of {len(examples.inputs)} sentences\n\n" + table(header, rows)


def _int8(bench: Workbench, settings: Settings, folder: Path) -> ArmSpec:
    """The embedded model with every MatMul static int8."""
    unpadded = {"quantization_approach": "static", "operators_to_quantize": ("MatMul",), "calibration": Calibration()}
    settings = settings.model_copy(update=unpadded)
    path = folder / "int8.onnx"
    exported = Path(bench.float_model(settings).path)
    write_quantized(exported, settings, ("uint8", "int8"), (), bench.ranges(settings), path)
    return bench.arm("onnxruntime", path, "int8", settings)


def _measure(session: Any, examples: Any, task_name: str, processor: Processor) -> list[str]:
    task = registry.task(task_name)
    seconds = {1: 0.0, evaluate.TOKEN_BUDGET: 0.0}
    predictions: dict[int, list[Prediction]] = {}
    for _ in range(ROUNDS):
        for budget in seconds:
            begin = time.perf_counter()
            predictions[budget] = evaluate.predict(session, task, examples, processor, lambda _: None, budget)
            seconds[budget] += (time.perf_counter() - begin) / ROUNDS
    single, batched = seconds.values()
    differing = sum(a != b for a, b in zip(*predictions.values(), strict=True))
    return [f"{single:.1f}", f"{batched:.1f}", f"{single / batched:.2f}", str(differing)]

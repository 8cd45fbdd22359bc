"""Evaluation in sorted batches against one sentence at a time, on the same sentences.

How much batches can gain is measured beside it: by the same batches on one core, shared among all cores without loss.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import stages

from quantbench import embedded
from quantbench.config.keys import combinations
from quantbench.config.load import load_config
from quantbench.pipeline import calibrate
from quantbench.pipeline import predict as evaluate
from quantbench.pipeline.arms import arm
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import load_model
from quantbench.plugins import registry
from quantbench.plugins.examples import Prediction
from quantbench.plugins.protocols import Session
from quantbench.quantize.with_onnxruntime import write_quantized
from quantbench.reports._markdown import table
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Calibration, Settings

Predict = Callable[[Session, int | None], list[Prediction]]
"""Predictions of a session in batches of so many examples, or in sorted ones."""


def report() -> str:
    """Markdown table: seconds of both ways per arm, their ratio, and the largest ratio that the cores would allow."""
    _, settings = next(combinations(load_config(embedded.CONFIG)))
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        bench = stages.context_at(Path(cache))
        examples, task = stages.examples(settings, bench), registry.task(settings.task)
        processor = load_model(settings.sources, bench).processor

        def predict(session: Session, batch_size: int | None) -> list[Prediction]:
            return evaluate.predict(session, task, examples, processor, lambda _: None, batch_size)

        for label, spec in (
            ("original (PyTorch)", stages.original(settings, bench)),
            ("float export", stages.exported(settings, bench)),
            ("int8, static", _int8(bench, settings, Path(cache))),
        ):
            rows.append([label, *_measure(spec, bench.threads, predict)])
    header = [
        "arm",
        "one at a time, s",
        "sorted batches, s",
        "ratio",
        "the same on one core, s",
        "ratio at most",
        "differ",
    ]
    return (
        f"## Evaluation of {len(examples.inputs)} sentences on {bench.threads} cores\n\n"
        + table(header, rows)
        + "\n\n*at most*: if all cores shared the batches of one core without any loss. *differ*: sentences whose "
        "prediction is another one."
    )


def _int8(bench: Context, settings: Settings, folder: Path) -> ArmSpec:
    """The embedded model with every MatMul static int8."""
    unpadded = {"quantization_approach": "static", "operators_to_quantize": ("MatMul",), "calibration": Calibration()}
    settings = settings.model_copy(update=unpadded)
    path = folder / "int8.onnx"
    model = load_model(settings.sources, bench)
    chosen = calibrate.choose_samples(settings.sources, settings.calibration, model, bench)
    ranges = calibrate.ranges(stages.float_model(settings, bench), chosen, settings.calibration, bench)
    exported = Path(stages.exported(settings, bench).path)
    write_quantized(exported, settings, ("uint8", "int8"), (), ranges, path)
    return arm("onnxruntime", path, "int8", settings)


def _measure(spec: ArmSpec, threads: int, predict: Predict) -> list[str]:
    single, alone = _seconds(spec, threads, predict, 1)
    batched, together = _seconds(spec, threads, predict, None)
    one_core, _ = _seconds(spec, 1, predict, None)
    differing = sum(a != b for a, b in zip(alone, together, strict=True))
    figures = (single, batched, single / batched, one_core, single / one_core * threads)
    return [*(f"{figure:.2f}" for figure in figures), str(differing)]


def _seconds(spec: ArmSpec, threads: int, predict: Predict, batch_size: int | None) -> tuple[float, list[Prediction]]:
    session = registry.runtime(spec.runtime).load(spec, threads)
    begin = time.perf_counter()
    found = predict(session, batch_size)
    return time.perf_counter() - begin, found

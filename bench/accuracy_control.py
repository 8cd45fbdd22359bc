"""NNCF's own accuracy-aware search, ``quantize_with_accuracy_control``, on the same model, data and limit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import stages

from quantbench.pipeline import predict
from quantbench.pipeline.load import load_model
from quantbench.plugins.registry import task
from quantbench.served.openvino import OpenVinoSession
from quantbench.tune.trials import TuningSet


@dataclass
class Cost:
    """What the search took: forwards in units of the evaluation set, seconds, and what came out."""

    evaluations: float
    seconds: float
    outcome: str


def accuracy_control(bench: TuningSet, drop: float) -> Cost:
    """Run the search with the whole evaluation set as its validation set."""
    import nncf
    import openvino

    settings, context = bench.settings, bench.context
    kind, examples = task(settings.task), stages.examples(settings, context)
    processor = load_model(settings.sources, context).processor
    forwards = [0.0]
    values: list[float] = []

    def f1(model: Any, _: Any) -> float:
        session = OpenVinoSession(model)
        forwards[0] += 1
        predictions = predict.predict(session, kind, examples, processor, lambda _: None)
        values.append(kind.score(examples, predictions, predictions).metrics["f1"])
        return values[-1]

    samples = [processor.collate([example]) for example in bench.sample(128)[0]]
    begin = time.perf_counter()
    plain = openvino.Core().read_model(str(Path(stages.exported(settings, context).path)))
    names = {name for item in plain.inputs for name in item.get_names()}

    def inputs(sample: Any) -> Any:
        return {name: array for name, array in sample.items() if name in names}

    nncf.quantize_with_accuracy_control(
        plain,
        calibration_dataset=nncf.Dataset(samples, inputs),
        validation_dataset=nncf.Dataset([samples[0]], inputs),
        validation_fn=f1,
        max_drop=drop,
        drop_type=nncf.DropType.ABSOLUTE,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
    )
    outcome = f"f1 {values[0]:.4f} → {values[-1]:.4f} on the examples that it was chosen by"
    return Cost(forwards[0] + len(samples) / len(examples.inputs), time.perf_counter() - begin, outcome)

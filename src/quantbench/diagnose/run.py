"""The diagnosis of one run: from its int8 file to the tensors at fault, their causes and what mends them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantbench.analysis import losses
from quantbench.diagnose import observe
from quantbench.diagnose.damage import Meter, evenly_spaced
from quantbench.diagnose.faults import Case, SwitchableModel, explained, suspects
from quantbench.diagnose.records import Diagnosis
from quantbench.diagnose.remedies import measure_file, try_all
from quantbench.graph import external
from quantbench.pipeline.calibrate import choose_samples
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel, float_arm, float_model
from quantbench.pipeline.load import Loaded, load, load_rows, prepare
from quantbench.pipeline.optimize import as_computed
from quantbench.pipeline.predict import scored_batch_size
from quantbench.plugins import registry
from quantbench.plugins.examples import ManyInputs
from quantbench.schema.results import Result, Run
from quantbench.schema.settings import Settings

SAMPLE = 64
"""Examples that damage is measured on."""
SCREENED = 16
"""Examples of the smaller sample that every single tensor is judged on."""
MOST_INPUTS = 4
"""Inputs per example of these samples; of examples that have more, such as hundreds of passages, fewer are taken."""
OBSERVED = 8
"""Calibration samples that are run again to observe where the extremes stand."""


def diagnose_all(results: Sequence[Result], folder: Path, context: Context) -> list[Diagnosis | None]:
    """Diagnose runs; None for those that lose nothing. ``folder`` holds their models."""
    found: list[Diagnosis | None] = []
    for result in results:
        assert result.artifact is not None, "a finished run has an artifact"
        path = folder / result.artifact.path
        found.append(diagnose(result.run, path, context) if loses(result) else None)
    return found


def loses(result: Result) -> bool:
    """Whether a run's model is worse than the original by more than chance: its interval lies below zero."""
    return losses.differences(result)[losses.main_metric(result)].high < 0


def diagnose(run: Run, path: Path, context: Context) -> Diagnosis:
    """Explain what breaks the int8 model of a run.

    Args:
        run: the run; its settings say how it was calibrated.
        path: its int8 file.
        context: where the work is done.

    Returns:
        The diagnosis; without faults where rounding activations changes no prediction of the sample.

    """
    settings, loaded = run.settings, load(run.settings, context)
    model = loaded.model
    exported, _ = as_computed(settings, model, float_model(settings, loaded, context), context)
    case = _case(settings, loaded, exported, path, context)
    found = suspects(case)
    remedies, freed = try_all(
        settings, frozenset(found.tensors), found.whole, found.floor, case.meter, model, exported, context
    )
    groups = {
        item.value: freed[item.value] for item in remedies if item.key == "node_exclusion" and "," not in item.value
    }
    samples = choose_samples(settings.sources, settings.calibration, model, context).read()
    observed = observe.calibration_samples(samples, evenly_spaced(samples.count, OBSERVED), model.processor)
    return Diagnosis(
        run=run.name,
        examples=(len(case.meter.examples.inputs), len(case.screen.examples.inputs)),
        file=measure_file(path, settings, case.meter, context.threads),
        rounded=found.whole,
        weights=found.floor,
        kept=found.kept,
        recovered=found.recovered,
        tensors=tuple(found.tensors.values()),
        faults=tuple(explained(case, found, observed, groups)),
        remedies=tuple(remedies),
        padding=settings.calibration.padding,
    )


def _case(settings: Settings, loaded: Loaded, exported: FloatModel, path: Path, context: Context) -> Case:
    sources, model = settings.sources, loaded.model
    calibration = load_rows(sources, "calibration", model, context) if settings.dataset.calibration_split else None
    data = (calibration if calibration and calibration.labelled else load_rows(sources, "eval", model, context)).data
    task = registry.task(settings.task)
    kind = task.likelihood(settings)
    plain = float_arm(exported, settings)
    reference = registry.runtime(settings.framework).load(plain, context.threads).predict

    def prepared(count: int) -> Any:
        rows = evenly_spaced(len(data), count)
        found = prepare(sources, data.select(rows), model)
        inputs = len(found.inputs)
        if not isinstance(found, ManyInputs) or inputs <= MOST_INPUTS * count:
            return found
        fewer = max(1, MOST_INPUTS * count * len(rows) // inputs)
        return prepare(sources, data.select(evenly_spaced(len(data), fewer)), model)

    examples, few = prepared(SAMPLE), prepared(SCREENED)
    int8, batch_size = external.read(path), scored_batch_size(settings)
    return Case(
        context=context,
        model=int8,
        switchable=SwitchableModel(int8, context.threads),
        examples=observe.unpadded(examples, model.processor),
        meter=Meter(task, examples, model.processor, kind, reference, batch_size),
        screen=Meter(task, few, model.processor, kind, reference, batch_size),
    )

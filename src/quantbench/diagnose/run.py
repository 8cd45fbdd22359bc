"""The diagnosis of one run: from its int8 file to the tensors at fault, their causes and what mends them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from quantbench.analysis import losses
from quantbench.diagnose import observe
from quantbench.diagnose.causes import Example, causes, huge_constant
from quantbench.diagnose.damage import (
    NEGLIGIBLE,
    SHARE,
    Meter,
    Predict,
    evenly_spaced,
    find_faults,
    recovered,
    single_out,
)
from quantbench.diagnose.observe import RoundingNoise
from quantbench.diagnose.records import Damage, Diagnosis, Fault, Tensor
from quantbench.diagnose.remedies import measure_file, try_all
from quantbench.graph import external
from quantbench.graph.view import Graph
from quantbench.pipeline.calibrate import choose_samples
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel, float_arm, float_model
from quantbench.pipeline.load import load, load_rows, prepare
from quantbench.pipeline.model import Model
from quantbench.pipeline.predict import scored_batch_size
from quantbench.plugins import registry
from quantbench.plugins.protocols import Inputs, ManyInputs
from quantbench.quantize import sessions
from quantbench.quantize.fake_quant import SWITCHES, Rounding, restored, switched, unfolded
from quantbench.schema.results import Result, Run
from quantbench.schema.settings import Settings
from quantbench.served.onnxruntime import session_options

SAMPLE = 64
"""Examples that damage is measured on."""
SCREENED = 16
"""Examples of the smaller sample that every single tensor is judged on."""
MOST_INPUTS = 4
"""Inputs per example of these samples; of examples that have more, such as hundreds of passages, fewer are taken."""
OBSERVED = 8
"""Calibration samples that are run again to observe where the extremes stand."""
BEST = 99
"""Optimization level of the sessions that measure damage."""


class SwitchableModel:
    """A model in which every rounding can be switched on and off.

    Attributes:
        roundings: what can be switched, in the graph's order.

    """

    def __init__(self, model: onnx.ModelProto, threads: int) -> None:
        graph, self.roundings = switched(model)
        options = session_options(BEST, threads)
        self._session = sessions.session(sessions.serialized(graph), options)
        self._names = {item.name for item in self._session.get_inputs()}
        self.tensors = [item.tensor for item in self.roundings]

    def rounding(self, tensors: Collection[str]) -> Predict:
        """The model with only these activations rounded."""
        switches = np.array([name in tensors for name in self.tensors])

        def predict(inputs: Inputs) -> list[Any]:
            feed = {name: array for name, array in inputs.items() if name in self._names}
            return list(self._session.run(None, {**feed, SWITCHES: switches}))

        return predict

    def sparing(self, tensors: Collection[str]) -> Predict:
        """The model with all activations rounded but these."""
        return self.rounding(set(self.tensors) - set(tensors))


@dataclass(frozen=True)
class _Case:
    """What every step of a diagnosis works on."""

    settings: Settings
    context: Context
    source: Model
    exported: FloatModel
    model: onnx.ModelProto
    switchable: SwitchableModel
    examples: Any
    meter: Meter
    screen: Meter

    @property
    def threads(self) -> int:
        return self.context.threads


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
    case = _case(run.settings, path, context)
    switchable, meter = case.switchable, case.meter
    everything = set(switchable.tensors)
    whole, floor = meter.measure(switchable.rounding(everything)), meter.measure(switchable.rounding(()))
    examples = observe.unpadded(case.examples, case.source.processor)
    bare = restored(unfolded(case.model), everything)
    noise = observe.rounding_noise(bare, switchable.roundings, examples, case.threads)
    tensors = _tensors(case, noise)
    damaged = whole.changed > 0 and whole.divergence > floor.divergence
    names = _faults(case, tensors, whole, floor) if damaged else []
    kept = meter.measure(switchable.sparing(names)) if names else whole
    remedies, freed = try_all(
        run.settings, frozenset(everything), whole, floor, meter, case.source, case.exported, context
    )
    groups = {
        item.value: freed[item.value] for item in remedies if item.key == "node_exclusion" and "," not in item.value
    }
    return Diagnosis(
        run=run.name,
        examples=(len(meter.examples.inputs), len(case.screen.examples.inputs)),
        file=measure_file(path, run.settings, meter, context.threads),
        rounded=whole,
        weights=floor,
        kept=kept,
        recovered=recovered(whole, floor, kept) if names else 0.0,
        tensors=tuple(tensors.values()),
        faults=tuple(_explained(case, bare, noise, examples, [tensors[name] for name in names], groups)),
        remedies=tuple(remedies),
        padding=run.settings.calibration.padding,
    )


def _case(settings: Settings, path: Path, context: Context) -> _Case:
    sources, loaded = settings.sources, load(settings, context)
    model, exported = loaded.model, float_model(settings, loaded, context)
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
    return _Case(
        settings=settings,
        context=context,
        source=model,
        exported=exported,
        model=int8,
        switchable=SwitchableModel(int8, context.threads),
        examples=examples,
        meter=Meter(task, examples, model.processor, kind, reference, batch_size),
        screen=Meter(task, few, model.processor, kind, reference, batch_size),
    )


def _tensors(case: _Case, noise: Mapping[str, RoundingNoise]) -> dict[str, Tensor]:
    """Every rounded activation, with what it does alone on the smaller sample."""
    alone = _alone(case)
    found: dict[str, Tensor] = {}
    for item in case.switchable.roundings:
        needed = noise[item.tensor].needed
        found[item.tensor] = Tensor(
            name=item.tensor,
            maker=item.maker,
            readers=item.readers,
            range=item.range,
            needed=needed,
            levels=_levels(item, needed),
            decibels=noise[item.tensor].decibels,
            median_decibels=noise[item.tensor].median_decibels,
            alone=alone.get(item.tensor),
        )
    return found


def _alone(case: _Case) -> dict[str, Damage]:
    """What tensors do when they alone are rounded, where that is not negligible."""
    switchable, screen = case.switchable, case.screen
    measured: dict[str, Damage] = {}
    floor = screen.measure(switchable.rounding(()))
    whole = screen.measure(switchable.rounding(switchable.tensors))
    limit = NEGLIGIBLE * (whole.divergence - floor.divergence)
    if limit <= 0:
        return {}
    with case.context.reporter.stage("Rounding tensors one by one", len(switchable.tensors)) as advance:

        def negligible(names: Sequence[str]) -> bool:
            damage = screen.measure(switchable.rounding(names))
            small = damage.divergence - floor.divergence < limit
            if len(names) == 1 and not small:
                measured[names[0]] = damage
            advance(len(names) if small or len(names) == 1 else 0)
            return small

        single_out(switchable.tensors, negligible)
    return measured


def _levels(item: Rounding, needed: tuple[float, float]) -> int:
    """On how many of the numbers the values of a range can fall."""
    low, high = (np.clip(np.rint(value / item.scale) + item.zero_point, *item.bounds) for value in needed)
    return int(high - low) + 1


def _faults(case: _Case, tensors: Mapping[str, Tensor], whole: Damage, floor: Damage) -> list[str]:
    """Names of the tensors at fault, the most damaging first."""
    ranked = sorted(tensors, key=lambda name: _suspicion(tensors[name]))
    known: dict[frozenset[str], bool] = {}
    with case.context.reporter.stage("Looking for the tensors at fault", len(ranked)) as advance:

        def enough(names: Sequence[str]) -> bool:
            key = frozenset(names)
            if key not in known:
                left = case.meter.measure(case.switchable.sparing(key))
                known[key] = recovered(whole, floor, left) >= SHARE
                advance(1)
            return known[key]

        return find_faults(ranked, enough)


def _suspicion(tensor: Tensor) -> tuple[float, float]:
    """Most suspicious first: by the damage alone, among the negligible ones by the noise."""
    return (-tensor.alone.divergence if tensor.alone else 0.0, math.inf if tensor.decibels is None else tensor.decibels)


def _explained(
    case: _Case,
    bare: onnx.ModelProto,
    noise: Mapping[str, RoundingNoise],
    examples: Sequence[Example],
    tensors: Sequence[Tensor],
    groups: Mapping[str, frozenset[str]],
) -> list[Fault]:
    """The tensors at fault with what sets their ranges."""
    names = [tensor.name for tensor in tensors]
    roundings = [item for item in case.switchable.roundings if item.tensor in set(names)]
    axes = observe.axes_of(noise, examples)
    samples = choose_samples(case.settings.sources, case.settings.calibration, case.source, case.context).read()
    made = observe.calibration_samples(samples, evenly_spaced(samples.count, OBSERVED), case.source.processor)
    with case.context.reporter.stage("Observing what sets their ranges", 1) as advance:
        real = dict(observe.extremes(bare, roundings, examples, axes, case.threads))
        calibrated = dict(observe.extremes(bare, roundings, made, axes, case.threads))
        advance(1)
    graph = Graph(bare)
    item_of = {item.tensor: item for item in roundings}
    faults = []
    for tensor in tensors:
        item, others = item_of[tensor.name], [name for name in names if name != tensor.name]
        constant = huge_constant(graph, item.source)
        faults.append(
            Fault(
                tensor=tensor,
                alone=case.meter.measure(case.switchable.rounding([tensor.name])),
                spared=case.meter.measure(case.switchable.sparing([tensor.name])),
                again=case.meter.measure(case.switchable.sparing(others)),
                causes=causes(item, calibrated[item.tensor], real[item.tensor], constant, noise[item.tensor].clipping),
                peak=calibrated[item.tensor].peak,
                freed_by=tuple(value.strip("[]") for value, freed in groups.items() if item.tensor in freed),
            )
        )
    return faults

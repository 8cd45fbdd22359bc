"""The tensors at fault in a model with fixed ranges: by switching the rounding of each on and off."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from quantbench.diagnose import observe
from quantbench.diagnose.causes import Example, causes, huge_constant
from quantbench.diagnose.damage import NEGLIGIBLE, SHARE, Meter, Predict, find_faults, recovered, single_out
from quantbench.diagnose.observe import RoundingNoise
from quantbench.diagnose.records import Damage, Fault, Tensor
from quantbench.graph.view import Graph
from quantbench.pipeline.context import Context
from quantbench.plugins.examples import Inputs
from quantbench.quantize import sessions
from quantbench.quantize.fake_quant import SWITCHES, Rounding, restored, switched, unfolded
from quantbench.served.onnxruntime import session_options

BEST = 99
"""Optimization level of the sessions that measure damage."""


class SwitchableModel:
    """A model in which every rounding can be switched on and off.

    Args:
        model: the int8 model.
        threads: to use.
        outputs: names of those that are given; all where None.

    Attributes:
        roundings: what can be switched, in the graph's order.

    """

    def __init__(self, model: onnx.ModelProto, threads: int, outputs: Sequence[str] | None = None) -> None:
        graph, self.roundings = switched(model)
        options = session_options(BEST, threads)
        self._session = sessions.session(sessions.serialized(graph), options)
        self._outputs = outputs
        self._names = {item.name for item in self._session.get_inputs()}
        self.tensors = [item.tensor for item in self.roundings]

    def rounding(self, tensors: Collection[str]) -> Predict:
        """The model with only these activations rounded."""
        switches = np.array([name in tensors for name in self.tensors])

        def predict(inputs: Inputs) -> list[Any]:
            feed = {name: array for name, array in inputs.items() if name in self._names}
            return list(self._session.run(self._outputs, {**feed, SWITCHES: switches}))

        return predict

    def sparing(self, tensors: Collection[str]) -> Predict:
        """The model with all activations rounded but these."""
        return self.rounding(set(self.tensors) - set(tensors))


@dataclass(frozen=True)
class Case:
    """What every step works on.

    Attributes:
        context: where that is done.
        model: the int8 model.
        switchable: the same with switches.
        examples: unpadded ones of the sample.
        meter: measures damage on the sample.
        screen: on a smaller one, which every single tensor is judged on.

    """

    context: Context
    model: onnx.ModelProto
    switchable: SwitchableModel
    examples: Sequence[Example]
    meter: Meter
    screen: Meter

    @property
    def threads(self) -> int:
        """Threads of all sessions."""
        return self.context.threads


@dataclass(frozen=True)
class Suspects:
    """What switching has shown.

    Attributes:
        whole: damage if all activations are rounded.
        floor: if none is.
        kept: if those at fault stay in float.
        tensors: all of them by name, in the graph's order.
        names: of those at fault, the most damaging first.
        noise: of every rounding on real examples.
        bare: the model without roundings of activations.

    """

    whole: Damage
    floor: Damage
    kept: Damage
    tensors: Mapping[str, Tensor]
    names: Sequence[str]
    noise: Mapping[str, RoundingNoise]
    bare: onnx.ModelProto

    @property
    def recovered(self) -> float:
        """Share of the damage that is gone where those at fault stay in float."""
        return recovered(self.whole, self.floor, self.kept) if self.names else 0.0


def suspects(case: Case) -> Suspects:
    """The tensors at fault; none where rounding activations changes no prediction of the sample."""
    switchable, meter = case.switchable, case.meter
    everything = set(switchable.tensors)
    whole, floor = meter.measure(switchable.rounding(everything)), meter.measure(switchable.rounding(()))
    bare = restored(unfolded(case.model), everything)
    noise = observe.rounding_noise(bare, switchable.roundings, case.examples, case.threads)
    tensors = _tensors(case, noise)
    damaged = whole.changed > 0 and whole.divergence > floor.divergence
    names = _faults(case, tensors, whole, floor) if damaged else []
    kept = meter.measure(switchable.sparing(names)) if names else whole
    return Suspects(whole, floor, kept, tensors, names, noise, bare)


def _tensors(case: Case, noise: Mapping[str, RoundingNoise]) -> dict[str, Tensor]:
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


def _alone(case: Case) -> dict[str, Damage]:
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


def _faults(case: Case, tensors: Mapping[str, Tensor], whole: Damage, floor: Damage) -> list[str]:
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


def explained(
    case: Case, found: Suspects, calibration: Sequence[Example] | None, groups: Mapping[str, frozenset[str]]
) -> list[Fault]:
    """The tensors at fault with what sets their ranges.

    Args:
        case: what was looked at.
        found: in it.
        calibration: samples that set the ranges; None where nobody knows them, so that nothing is said of padding.
        groups: the activations that a node-exclusion group leaves in float, by its name.

    """
    tensors = [found.tensors[name] for name in found.names]
    names = [tensor.name for tensor in tensors]
    roundings = [item for item in case.switchable.roundings if item.tensor in set(names)]
    axes = observe.axes_of(found.noise, case.examples)
    with case.context.reporter.stage("Observing what sets their ranges", 1) as advance:
        real = dict(observe.extremes(found.bare, roundings, case.examples, axes, case.threads))
        calibrated = real
        if calibration is not None:
            calibrated = dict(observe.extremes(found.bare, roundings, calibration, axes, case.threads))
        advance(1)
    graph = Graph(found.bare)
    item_of = {item.tensor: item for item in roundings}
    faults = []
    for tensor in tensors:
        item, others = item_of[tensor.name], [name for name in names if name != tensor.name]
        constant, clipping = huge_constant(graph, item.source), found.noise[item.tensor].clipping
        faults.append(
            Fault(
                tensor=tensor,
                alone=case.meter.measure(case.switchable.rounding([tensor.name])),
                spared=case.meter.measure(case.switchable.sparing([tensor.name])),
                again=case.meter.measure(case.switchable.sparing(others)),
                causes=causes(item, calibrated[item.tensor], real[item.tensor], constant, clipping),
                peak=calibrated[item.tensor].peak,
                freed_by=tuple(value.strip("[]") for value, freed in groups.items() if item.tensor in freed),
            )
        )
    return faults

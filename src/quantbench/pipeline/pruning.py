"""The float model with fewer neurons and heads: scored on calibration samples, cut, and repaired on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.graph.units import Units, cut, find
from quantbench.graph.view import Graph
from quantbench.pipeline import calibrate
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.graph_runs import LARGEST, difference, shapes_of
from quantbench.pipeline.model import Model
from quantbench.plugins import registry
from quantbench.plugins.quantizing import Samples
from quantbench.quantize.pruning import repair
from quantbench.quantize.pruning.choose import MULTIPLE, staying
from quantbench.quantize.pruning.scores import Read, fisher
from quantbench.schema.settings import Calibration, Recipe, Sources
from quantbench.sources.export import FILE, exported_sha256, write_tidied

Array = np.ndarray[Any, Any]
CALLED = {"ffn": "feed-forward layer", "heads": "attention"}
"""What holds the units of a kind."""


def pruned(exported: FloatModel, sources: Sources, recipe: Recipe, model: Model, context: Context) -> FloatModel:
    """The export with the shares of neurons and heads taken that a recipe says, made once on this machine.

    Raises:
        RunFailed: if nothing of a kind is found that could be taken.

    """
    wanted = recipe.pruning
    if exported.bytes > LARGEST:
        raise RunFailed("pruning: what is left of a model over 2 GiB cannot be held as one message; leave it out")
    calibration = Calibration(num_calibration_samples=wanted.samples, seed=wanted.seed)
    chosen = calibrate.choose_samples(sources, calibration, model, context)
    inputs = {"exported": exported, "original": model.original, "samples": chosen, "pruning": wanted}
    path = context.cache.path("pruned", inputs, FILE)

    def make() -> str:
        if exported_sha256(path) is None:
            given, samples = external.read(exported.path), chosen.read()
            graph = Graph(given)
            layers = units_of(given, model)
            for kind, share in wanted.shares.items():
                if share and not any(units.kind == kind for units in layers):
                    raise RunFailed(f"pruning.{kind}: no {CALLED[kind]} of a known form is in this model; leave it out")
            found = _scores(exported, layers, sources, samples, chosen.fingerprint, model, context)
            stay = _staying(layers, graph, found, wanted.shares)
            _hold(given, stay, model)
            with context.reporter.stage("Fitting what stays", len(stay) * samples.count) as advance:
                shorter = repair.shortened(given, stay, samples, context.threads, advance)
            write_tidied(shorter, path)
        return str(exported_sha256(path))

    return FloatModel(path, context.cache.once("pruned", inputs, make))


def _hold(given: onnx.ModelProto, stay: dict[Units, Array], model: Model) -> None:
    """Hold that a graph without units gives what it gives while nothing reads them."""
    unread = shorter = given
    for units, numbers in stay.items():
        weights, kept = units.matrix(Graph(given)), units.values(numbers)
        zeros = np.zeros_like(weights)
        zeros[kept] = weights[kept]
        unread = cut(unread, units, np.arange(units.count), zeros)
        shorter = cut(shorter, units, numbers, weights[kept])
    if apart := difference(unread, shorter, model):
        raise RunFailed(f"pruning changes what stays {apart}; leave it out")


def units_of(given: onnx.ModelProto, model: Model) -> list[Units]:
    """All layers of an export whose neurons or heads can be taken."""
    return find(Graph(given), shapes_of(given, model))


def _staying(
    layers: Sequence[Units], graph: Graph, scores: dict[str, Array], shares: dict[str, float]
) -> dict[Units, Array]:
    """Numbers of the units that stay, of the layers that were scored, in the graph's order."""
    costs = {units.name: units.multiplications(graph) for units in layers}
    stay: dict[str, Array] = {}
    for kind, share in shares.items():
        own = {units.name: scores[units.name] for units in layers if units.kind == kind and units.name in scores}
        if share and own:
            stay |= staying(own, costs, share, MULTIPLE if kind == "ffn" else 1)
    return {units: stay[units.name] for units in layers if units.name in stay}


def _scores(
    exported: FloatModel,
    layers: Sequence[Units],
    sources: Sources,
    samples: Samples,
    fingerprint: str,
    model: Model,
    context: Context,
) -> dict[str, Array]:
    """Fisher scores of all units by layer, found once for all shares."""
    if model.opset is not None:
        raise RunFailed("pruning: units are scored by gradients, of which an ONNX file gives none; leave it out")
    task = registry.task(sources.task)

    def measure() -> dict[str, list[float]]:
        graph = Graph(external.read(exported.path))
        session: Any = registry.runtime(model.original.runtime).load(model.original, context.threads)
        batches = [samples.sample(index) for index in range(samples.count)]
        read = {units.name: Read(units.matrix(graph), units.size) for units in layers}
        with context.reporter.stage(f"Scoring what can be taken, {samples.count} samples", samples.count) as advance:
            found = fisher(session.model, read, batches, tuple(task.OUTPUTS), task.likelihood(sources), advance)
        return {name: values.tolist() for name, values in found.items()}

    inputs = {"exported": exported, "original": model.original, "samples": fingerprint}
    found = context.cache.stored("units", inputs, measure)
    if not found:
        raise RunFailed("pruning: the export holds no weights as the model has them; leave it out")
    return {name: np.array(values) for name, values in found.items()}

"""The float model with fewer neurons: scored on calibration samples, cut, and repaired on them."""

from __future__ import annotations

from typing import Any

from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.graph.neurons import find
from quantbench.graph.view import Graph
from quantbench.pipeline import calibrate
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.model import Model
from quantbench.plugins import registry
from quantbench.plugins.quantizing import Samples
from quantbench.prune import repair, scores
from quantbench.prune.choose import staying
from quantbench.schema.settings import Calibration, Recipe, Sources
from quantbench.sources.export import FILE, exported_sha256, write_tidied


def pruned(exported: FloatModel, sources: Sources, recipe: Recipe, model: Model, context: Context) -> FloatModel:
    """The export with the share of neurons taken that a recipe says, made once on this machine.

    Raises:
        RunFailed: if no feed-forward layer is found whose neurons could be taken.

    """
    wanted = recipe.pruning
    calibration = Calibration(num_calibration_samples=wanted.samples, seed=wanted.seed)
    chosen = calibrate.choose_samples(sources, calibration, model, context)
    inputs = {"exported": exported, "original": model.original, "samples": chosen, "pruning": wanted}
    path = context.cache.path("pruned", inputs, FILE)

    def make() -> str:
        if exported_sha256(path) is None:
            given, samples = external.read(exported.path), chosen.read()
            found = _scores(exported, sources, samples, chosen.fingerprint, model, context)
            graph = Graph(given)
            costs = {layer.name: float(layer.multiplications(graph)) for layer in find(graph)}
            stay = staying(found, costs, wanted.ffn)
            total = len(stay) * samples.count
            with context.reporter.stage(f"Pruning {wanted.ffn:.0%} of neurons", total) as advance:
                shorter = repair.shortened(given, stay, samples, context.threads, advance)
            write_tidied(shorter, path)
        return str(exported_sha256(path))

    return FloatModel(path, context.cache.once("pruned", inputs, make))


def _scores(
    exported: FloatModel, sources: Sources, samples: Samples, fingerprint: str, model: Model, context: Context
) -> dict[str, Any]:
    """Fisher scores of all neurons by layer, found once for all shares."""
    import numpy as np

    if model.opset is not None:
        raise RunFailed("pruning: neurons are scored by gradients, of which an ONNX file gives none; leave it out")
    graph = Graph(external.read(exported.path))
    layers = find(graph)
    if not layers:
        raise RunFailed("pruning: no feed-forward layer is found in this model's graph; leave it out")
    task = registry.task(sources.task)

    def measure() -> dict[str, list[float]]:
        session: Any = registry.runtime(model.original.runtime).load(model.original, context.threads)
        batches = [samples.sample(index) for index in range(samples.count)]
        matrices = {layer.name: layer.matrix(graph) for layer in layers}
        with context.reporter.stage(f"Scoring neurons over {samples.count} samples", samples.count) as advance:
            found = scores.fisher(
                session.model, matrices, batches, tuple(task.OUTPUTS), task.likelihood(sources), advance
            )
        return {name: values.tolist() for name, values in found.items()}

    inputs = {"exported": exported, "original": model.original, "samples": fingerprint}
    found = context.cache.stored("neurons", inputs, measure)
    if not found:
        raise RunFailed("pruning: the export holds no feed-forward weights as the model has them; leave it out")
    return {layer.name: np.array(found[layer.name]) for layer in layers if layer.name in found}

"""The float model whose weights have learned, rounded as they will be, to give what the original gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from quantbench.errors import RunFailed
from quantbench.graph import edit, external
from quantbench.graph.patterns import residual_sums
from quantbench.graph.view import Graph
from quantbench.pipeline import calibrate
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.graph_runs import LARGEST
from quantbench.pipeline.model import Model
from quantbench.plugins import registry
from quantbench.plugins.quantizing import Samples
from quantbench.quantize import sessions
from quantbench.quantize.mixed.products import Product, find_products, modes_of
from quantbench.schema.settings import Calibration, Mode, Recipe, Settings
from quantbench.sources.export import FILE, exported_sha256, write_tidied
from quantbench.system.writing import write_atomically

if TYPE_CHECKING:
    from quantbench.quantize.training.distill import Progress, Pupil
    from quantbench.quantize.training.graph import Round

STATE, TOLD = "training.pt", "training.json"
Told = dict[str, Any]
"""What a training came to: ``steps``, and what outputs of examples kept apart missed ``before`` and ``after``: in nats,
or of embeddings and numbers as a share of their squares."""


def distilled(
    started: FloatModel,
    exported: FloatModel,
    settings: Settings,
    keep: frozenset[str],
    model: Model,
    context: Context,
) -> tuple[FloatModel, Told]:
    """A float model after training, made once on this machine; an interrupted one goes on where it was.

    Args:
        started: whose weights are trained: the export, or what was made of it.
        exported: the float export, whose outputs it is to give.
        settings: of the run.
        keep: names of nodes that stay in float.
        model: as it was given.
        context: where it is done.

    Raises:
        RunFailed: if there is no way back through an operator, or the weights are too many.

    """
    if started.bytes > LARGEST:
        raise RunFailed("aware_training: weights over 2 GiB that change cannot be held as one message; set it to false")
    wanted, sources = settings.aware_training_args, settings.sources
    learned = Calibration(num_calibration_samples=wanted.samples, sampling="random", seed=wanted.seed)
    chosen = calibrate.choose_samples(sources, learned, model, context)
    models = {"started": started, "exported": exported}
    inputs = {**models, "samples": chosen, "recipe": settings.recipe, "keep": sorted(keep), "threads": context.threads}
    path = context.cache.path("distilled", inputs, FILE)

    def make() -> Told:
        kept = _read(path)
        if kept is not None:
            return kept
        given, samples = external.read(started.path), chosen.read()
        rounding = _rounding(given, started, settings, keep, model, context)
        pupil = _pupil(given, exported, samples, rounding, settings, context)
        told = _train(pupil, settings, path.with_name(STATE), context)
        _put(given, pupil)
        write_tidied(given, path)
        write_atomically(path.with_name(TOLD), json.dumps(told).encode())
        path.with_name(STATE).unlink(missing_ok=True)  # which until now a kill would have gone on from
        return told

    told = context.cache.once("distilled", inputs, make)
    return FloatModel(path, str(exported_sha256(path))), told


def _read(path: Path) -> Told | None:
    """What the training came to of a model that is there whole; None where one has to be trained."""
    record = path.with_name(TOLD)
    if exported_sha256(path) is None or not record.exists():
        return None
    found: Told = json.loads(record.read_bytes())
    return found


def _train(pupil: Pupil, settings: Settings, state: Path, context: Context) -> Told:
    import torch

    from quantbench.quantize.training.distill import distill

    wanted, before = settings.aware_training_args, torch.get_num_threads()
    torch.set_num_threads(context.threads)
    try:
        with context.reporter.stage(f"Training for {wanted.minutes:g} min", round(60 * wanted.minutes)) as advance:
            whole = _Whole(advance)
            found: Progress = distill(pupil, 60 * wanted.minutes, wanted.learning_rate, wanted.seed, state, whole.add)
    finally:
        torch.set_num_threads(before)
    return {"steps": found.steps, "before": found.before[0], "after": found.best}


class _Whole:
    """Whole seconds of parts of them, as a bar counts."""

    def __init__(self, advance: Any) -> None:
        self._advance, self._left = advance, 0.0

    def add(self, seconds: float) -> None:
        self._left += seconds
        if self._left >= 1:
            self._advance(int(self._left))
            self._left -= int(self._left)


def _pupil(
    given: onnx.ModelProto,
    exported: FloatModel,
    samples: Samples,
    rounding: Mapping[str, tuple[Round, Round]],
    settings: Settings,
    context: Context,
) -> Pupil:
    from quantbench.quantize.training.distill import Pupil
    from quantbench.quantize.training.graph import TrainedGraph

    task, original = registry.task(settings.task), external.read(exported.path)
    hidden = [name for name in _sums(original) if name in set(_sums(given))]
    outputs = [item.name for item in given.graph.output if item.name in task.OUTPUTS]
    wanted = [*outputs, *hidden]
    session = sessions.of_graph(edit.with_outputs(original, wanted), 99, context.threads)
    names = {item.name for item in session.get_inputs()}

    def answers(arrays: Mapping[str, Any]) -> dict[str, Any]:
        found = session.run(wanted, {name: array for name, array in arrays.items() if name in names})
        return dict(zip(wanted, found, strict=True))

    return Pupil(
        graph=TrainedGraph(given),
        rounding=rounding,
        outputs=outputs,
        hidden=hidden,
        likelihood=task.likelihood(settings.sources),
        original=answers,
        batch=samples.batch,
        lengths=[next(iter(samples.sample(number).values())).shape[-1] for number in range(samples.count)],
    )


def _sums(model: onnx.ModelProto) -> list[str]:
    """Tensors that join a residual branch, in the graph's order."""
    graph = Graph(model)
    names = residual_sums(graph)
    return [node.output[0] for node in graph.nodes if node.name in names]


def _rounding(
    given: onnx.ModelProto,
    started: FloatModel,
    settings: Settings,
    keep: frozenset[str],
    model: Model,
    context: Context,
) -> dict[str, tuple[Round, Round]]:
    """How products read their activations and weights, by node name."""
    from quantbench.quantize.training import rounding

    graph = Graph(given)
    modes = {name: mode for name, mode in _modes(graph, settings).items() if mode != "float" and name not in keep}
    if "static" in modes.values():
        chosen = calibrate.choose_samples(settings.sources, settings.calibration, model, context)
        statistics = calibrate.statistics(started, chosen, context)
    found = {}
    for product in find_products(graph):
        if product.name not in modes:
            continue
        weights = rounding.of_weights(settings.per_channel, 0 if product.transposed else 1)
        if modes[product.name] == "static":
            low, high = statistics[product.source].range(settings.calibration)
            found[product.name] = (rounding.static(low, high), weights)
        else:
            found[product.name] = (rounding.dynamic, weights)
    return found


def _modes(graph: Graph, settings: Recipe) -> dict[str, Mode]:
    """What becomes of every product with constant weights, by node name."""
    products: list[Product] = find_products(graph)
    if settings.quantization_approach == "mixed":
        return modes_of(products, settings.placement)
    if settings.quantization_approach == "none":
        return {}
    mode: Mode = "static" if settings.quantization_approach == "static" else "dynamic"
    decided = registry.quantizer_for(settings.framework, settings.quantization_approach)
    every = decided is not None and "operators_to_quantize" in decided.DECIDES
    operators = {product.name: graph.node(product.name).op_type for product in products}
    return {name: mode for name, kind in operators.items() if every or kind in settings.operators_to_quantize}


def _put(given: onnx.ModelProto, pupil: Pupil) -> None:
    """Write trained weights into a graph, in place."""
    for item in given.graph.initializer:
        if item.name in pupil.graph.weights:
            values: np.ndarray[Any, Any] = pupil.graph.weights[item.name].detach().numpy()
            item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), item.name))

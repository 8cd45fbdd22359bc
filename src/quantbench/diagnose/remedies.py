"""What mends an int8 model: each change of settings alone, quantized and run on the sample."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from quantbench.diagnose.damage import Meter, recovered
from quantbench.diagnose.records import Damage, Remedy
from quantbench.graph.view import Graph
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.model import Model
from quantbench.pipeline.optimize import quantizer_inputs, select_nodes, write_model
from quantbench.plugins import registry
from quantbench.quantize.fake_quant import find_roundings
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings

HISTOGRAM_SAMPLES = 4
"""Calibration samples for ranges that need histograms, which take long for long padded samples."""


def attempts(settings: Settings, graph: Graph) -> Iterator[tuple[str, str, Settings]]:
    """Settings that differ from a run's in one thing that may mend it, as (dotted key, value, settings).

    Every node-exclusion group that the run does not have and that matches something, all of these together, calibration
    without padding, and ranges that leave out the outermost values.
    """
    held = {name.removesuffix("?") for name in settings.node_exclusion}
    groups = [name for name in registry.names("exclusions") if name not in held]
    groups = [name for name in groups if registry.exclusion(name).select(graph)]
    choices = [(name,) for name in groups] + ([tuple(groups)] if len(groups) > 1 else [])
    for chosen in choices:
        excluded = (*settings.node_exclusion, *chosen)
        yield "node_exclusion", f"[{', '.join(chosen)}]", settings.model_copy(update={"node_exclusion": excluded})
    calibration = settings.calibration
    if calibration.padding != "none":
        unpadded = calibration.model_copy(update={"padding": "none"})
        yield "calibration.padding", "none", settings.model_copy(update={"calibration": unpadded})
    if calibration.method == "minmax":
        count = calibration.num_calibration_samples
        if settings.quantization_approach == "static":
            count = min(count, HISTOGRAM_SAMPLES)
        update = {"method": "percentile", "moving_average": False, "num_calibration_samples": count}
        cut = calibration.model_copy(update=update)
        yield "calibration.method", "percentile", settings.model_copy(update={"calibration": cut})


def attempt(
    settings: Settings, graph: Graph, meter: Meter, model: Model, exported: FloatModel, context: Context
) -> tuple[Damage, frozenset[str]]:
    """Quantize with other settings; the damage that is left, and the activations that are rounded."""
    excluded = select_nodes(settings.node_exclusion, graph)
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        path = Path(scratch) / "model.onnx"
        write_model(path, settings, quantizer_inputs(settings, excluded, model, exported, context))
        rounded = frozenset(item.tensor for item in find_roundings(Graph.read(path)))
        return measure_file(path, settings, meter, context.threads), rounded


def measure_file(path: Path, settings: Settings, meter: Meter, threads: int) -> Damage:
    """Damage of a model file as it is executed with a run's settings."""
    options = registry.runtime(settings.framework).options(settings)
    spec = ArmSpec(runtime=settings.framework, path=str(path), sha256="", options=options)
    session = registry.runtime(settings.framework).load(spec, threads)
    return meter.measure(session.predict)


def try_all(
    settings: Settings,
    rounded: frozenset[str],
    whole: Damage,
    floor: Damage,
    meter: Meter,
    model: Model,
    exported: FloatModel,
    context: Context,
) -> tuple[list[Remedy], dict[str, frozenset[str]]]:
    """Quantize and measure with every change that :func:`attempts` names.

    Args:
        settings: of the run.
        rounded: the activations that its int8 model rounds.
        whole: its damage.
        floor: the damage of rounded weights alone.
        meter: measures on the sample.
        model: as it was given.
        exported: its float export, which all are made from.
        context: where that is done.

    Returns:
        The outcomes, and the activations that each leaves in float, by value.

    """
    graph = Graph.read(exported.path)
    tried = list(attempts(settings, graph))
    found: list[Remedy] = []
    freed: dict[str, frozenset[str]] = {}
    with context.reporter.stage("Trying what may mend it", len(tried)) as advance:
        for key, value, changed in tried:
            damage, still = attempt(changed, graph, meter, model, exported, context)
            freed[value] = rounded - still
            gone = recovered(whole, floor, damage)
            found.append(Remedy(key=key, value=value, damage=damage, recovered=gone, freed=len(freed[value])))
            advance(1)
    return found, freed

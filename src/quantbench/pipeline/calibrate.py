"""Calibrate: from the float model and calibration samples to what a quantizer reads of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quantbench.graph.view import Graph
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.load import load_rows, prepare
from quantbench.pipeline.model import Model
from quantbench.plugins.examples import sampled
from quantbench.plugins.quantizing import Samples
from quantbench.quantize.calibration import activations
from quantbench.quantize.calibration.ranges import Collector, Ranges
from quantbench.quantize.calibration.sampling import choose
from quantbench.quantize.mixed.products import find_products, grouped
from quantbench.schema.base import digest
from quantbench.schema.reporter import Advance
from quantbench.schema.settings import Calibration, Sources


@dataclass(frozen=True)
class Chosen:
    """Calibration samples that are chosen and not yet read.

    Attributes:
        fingerprint: hash of all that makes them.
        read: tokenizes and pads them.

    """

    fingerprint: str
    read: Callable[[], Samples]


def choose_samples(sources: Sources, calibration: Calibration, model: Model, context: Context) -> Chosen:
    """The calibration samples, to be chosen, tokenized and padded as the calibration says."""
    rows = load_rows(sources, "calibration", model, context)
    chosen = choose(len(rows.data), calibration)
    made = {
        "model": model.fingerprint,
        "data": rows.fingerprint,
        "chosen": chosen,
        "padding": calibration.padding,
        **sources.model_dump(mode="json", include={"task", "task_args", "dataset"}),
    }

    def read() -> Samples:
        width = model.processor.max_length(model.config) if calibration.padding == "max_length" else None
        examples = prepare(sources, rows.data.select(chosen), model)
        inputs = [examples.inputs[index] for index in sampled(examples)]
        return Samples(len(inputs), lambda numbers: model.processor.collate([inputs[one] for one in numbers], width))

    return Chosen(digest(made), read)


def ranges(exported: FloatModel, chosen: Chosen, calibration: Calibration, context: Context) -> Ranges:
    """Ranges of the float model's tensors, collected once per samples and calibration setting."""

    def collect(samples: Samples, advance: Advance) -> Any:
        collector = Collector(exported.path, samples.count, samples.sample, context.threads, advance)
        return collector.collect(calibration)

    inputs = {"model": exported, "samples": chosen, "calibration": calibration}
    what, passes = f"Collecting ranges, {calibration.method}", Collector.passes(calibration)
    found = context.cache.stored("ranges", inputs, lambda: _collected(chosen, what, passes, collect, context))
    return {name: (low, high) for name, (low, high) in found.items()}


def statistics(exported: FloatModel, chosen: Chosen, context: Context) -> activations.Statistics:
    """Statistics of all tensors that products with constant weights read, whatever the calibration's method."""

    def collect(samples: Samples, advance: Advance) -> Any:
        tensors = list(grouped(find_products(Graph.read(exported.path))))
        found = activations.collect(exported.path, tensors, samples.count, samples.sample, context.threads, advance)
        return {name: figures.dump() for name, figures in found.items()}

    inputs = {"model": exported, "samples": chosen}
    what = "Observing activations"
    found = context.cache.stored("statistics", inputs, lambda: _collected(chosen, what, 1, collect, context))
    return {name: activations.TensorStatistics.load(data) for name, data in found.items()}


def _collected(
    chosen: Chosen, what: str, passes: int, collect: Callable[[Samples, Advance], Any], context: Context
) -> Any:
    """What is collected in some passes over the samples, with a bar."""
    samples = chosen.read()
    with context.reporter.stage(f"{what} over {samples.count} samples", samples.count * passes) as advance:
        return collect(samples, advance)

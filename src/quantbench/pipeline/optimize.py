"""A run's optimized model: made from the float one, inspected, and laid down with what is needed to use it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantbench.errors import RunFailed
from quantbench.graph.view import Graph
from quantbench.pipeline import calibrate
from quantbench.pipeline.arms import arm
from quantbench.pipeline.context import Context, Watch
from quantbench.pipeline.distilled import distilled
from quantbench.pipeline.export import FloatModel
from quantbench.pipeline.load import fingerprints
from quantbench.pipeline.model import Model
from quantbench.pipeline.positions import read_only
from quantbench.pipeline.pruning import pruned
from quantbench.pipeline.tables import with_tables
from quantbench.plugins import registry
from quantbench.plugins.options import typed
from quantbench.plugins.protocols import Quantizer
from quantbench.plugins.quantizing import Inspection, QuantizerInputs, Reads
from quantbench.quantize import number_types
from quantbench.schema.base import digest
from quantbench.schema.results import ArmSpec, Artifact, Run
from quantbench.schema.settings import Recipe, Settings
from quantbench.sources import sentence_transformers
from quantbench.system import instruction_sets
from quantbench.system.files import content_sha256
from quantbench.system.writing import write_atomically, write_saved

RECORD = "quantbench.json"
"""Beside a model, how it was made."""


def optimize(
    run: Run, models: Path, model: Model, exported: FloatModel, context: Context, watch: Watch | None = None
) -> tuple[Artifact, ArmSpec]:
    """Make the optimized model of a run in a folder of its own, ``models/<run name>``.

    Args:
        run: the run.
        models: the folder of all models, in an output folder.
        model: as it was given.
        exported: its float export, which it is made from.
        context: see there.
        watch: told how long ``calibration`` and ``quantization`` took.

    Raises:
        RunFailed: if a node-exclusion group that is not optional matches nothing.

    """
    settings, watch = run.settings, watch or Watch()
    with watch.phase("training"):
        exported, told = as_computed(settings, model, exported, context)
    excluded = select_nodes(settings.node_exclusion, Graph.read(exported.path))
    with watch.phase("calibration"):
        inputs = quantizer_inputs(settings, excluded, model, exported, context)
    with watch.phase("quantization"), context.reporter.stage(f"Quantizing {run.name}", 1) as advance:
        quantizer = _quantizer(settings)
        path = models / run.name / quantizer.FILE
        recipe = {**write_model(path, settings, inputs), **told}
        files = quantizer.files(path)
        whole = path.parent if registry.runtime(settings.framework).LOADS_FOLDER else path
        spec = arm(settings.framework, whole, content_sha256(files), settings)
        size = sum(file.stat().st_size for file in files)
        artifact = _artifact(path.relative_to(models.parent), spec, size, quantizer.inspect(path), recipe, excluded)
        _write_folder(path.parent, run, artifact, model, context)
        advance(1)
    return artifact, spec


def as_computed(
    settings: Settings, model: Model, exported: FloatModel, context: Context
) -> tuple[FloatModel, dict[str, Any]]:
    """The float model that a run's is made from: the export, pruned, what of it is read, trained, with small tables.

    Returns:
        The model, and what a training came to, as ``training``.

    """
    made, told = exported, {}
    if settings.pruning.takes:
        made = pruned(made, settings.sources, settings.recipe, model, context)
    if settings.positions == "read":
        made = read_only(made, model, context)
    if settings.aware_training:
        groups = select_nodes(settings.node_exclusion, Graph.read(made.path))
        keep = frozenset(name for names in groups.values() for name in names)
        made, told["training"] = distilled(made, exported, settings, keep, model, context)
    small = settings.embedding_tables
    return (made if small == "float32" else with_tables(made, small, context)), told


def quantizer_inputs(
    settings: Settings,
    excluded: Mapping[str, Sequence[str]],
    model: Model,
    exported: FloatModel,
    context: Context,
) -> QuantizerInputs:
    """What the model of these settings is made from: of the calibration split what its quantizer reads."""
    sources, read = settings.sources, reads(settings)
    given: dict[str, Any] = {}
    if read != "nothing":
        chosen = calibrate.choose_samples(sources, settings.calibration, model, context)
        make: Mapping[str, Callable[[], Any]] = {
            "ranges": lambda: calibrate.ranges(exported, chosen, settings.calibration, context),
            "statistics": lambda: calibrate.statistics(exported, chosen, context),
            "samples": chosen.read,
        }
        given = {read: make[read]()}
    return QuantizerInputs(
        original=model.original,
        exported=exported.path,
        types=number_types.resolve(settings, instruction_sets.usable(context.environment)),
        keep=sorted({name for names in excluded.values() for name in names}),
        **given,
    )


def write_model(path: Path, settings: Settings, inputs: QuantizerInputs) -> dict[str, Any]:
    """Write the model file of the settings' approach; the choices that made it, with ``auto`` resolved."""
    recipe: dict[str, Any] = {
        "quantization_approach": settings.quantization_approach,
        "activation_type": inputs.types[0],
        "weight_type": inputs.types[1],
        "per_channel": settings.per_channel,
        "operators_to_quantize": list(settings.operators_to_quantize),
        **typed(registry.runtime(settings.framework).Args, settings).model_dump(mode="json"),
    }
    return {**recipe, **_quantizer(settings).write(settings, inputs, path)}


def reads(settings: Recipe) -> Reads:
    """What a run's model needs of the calibration split."""
    return _quantizer(settings).reads(settings)


def _quantizer(settings: Recipe) -> Quantizer:
    found = registry.quantizer_for(settings.framework, settings.quantization_approach)
    assert found is not None, "rules refuse what cannot be made"
    return found


def _artifact(
    path: Path,
    spec: ArmSpec,
    size: int,
    made: Inspection,
    recipe: dict[str, Any],
    excluded: dict[str, tuple[str, ...]],
) -> Artifact:
    """The record of an optimized model; ``path`` is relative to the output folder."""
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        executed = registry.runtime(spec.runtime).executed(spec, Path(scratch))
    precision = recipe.get("precision", "float32")
    return Artifact(
        path=str(path),
        sha256=spec.sha256,
        bytes=size,
        recipe=recipe,
        excluded=excluded,
        operators=made.operators,
        executed=executed,
        graph=made.graph if precision == "float32" else digest([made.graph, precision]),
    )


def select_nodes(groups: Sequence[str], graph: Graph) -> dict[str, tuple[str, ...]]:
    """Names of the nodes that each exclusion group selects.

    Raises:
        RunFailed: if a group without the mark ``?`` matches nothing.

    """
    selected = {}
    for group in groups:
        name = group.removesuffix("?")
        nodes = registry.exclusion(name).select(graph)
        if not nodes and not group.endswith("?"):
            raise RunFailed(
                f"node-exclusion group {name!r} matches no node of this model; write '{name}?' to allow that"
            )
        selected[name] = tuple(sorted(nodes))
    return selected


def _write_folder(folder: Path, run: Run, artifact: Artifact, model: Model, context: Context) -> None:
    """Put beside the model file what is needed to use it and to know how it was made."""
    write_saved(folder, model.processor.raw.save_pretrained)
    for name in sentence_transformers.files(model.folder):
        write_atomically(folder / name, (model.folder / name).read_bytes())
    if not registry.runtime(run.settings.framework).LOADS_FOLDER:  # of which the configuration was written as a part
        config = json.loads((model.folder / "config.json").read_bytes())
        config.pop("auto_map", None)  # names code of the checkpoint, of which this file needs none
        write_atomically(folder / "config.json", json.dumps(config, indent=2).encode())
    recipe = {
        "name": run.name,
        "key": run.key,
        "settings": run.settings.model_dump(mode="json"),
        "artifact": artifact.model_dump(mode="json"),
        "sources": fingerprints(run.settings, model, context),
        "environment": context.environment.model_dump(mode="json"),
    }
    write_atomically(folder / RECORD, json.dumps(recipe, indent=2).encode())

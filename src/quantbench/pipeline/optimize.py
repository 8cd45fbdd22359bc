"""A run's optimized model: made from the float one, inspected, and laid down with what is needed to use it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from quantbench.errors import RunFailed
from quantbench.graph.fingerprint import computation_hash
from quantbench.graph.view import Graph
from quantbench.pipeline.artifacts import Workbench
from quantbench.pipeline.preflight import sources
from quantbench.plugins import registry
from quantbench.quantize import number_types, with_nncf
from quantbench.quantize.checkpoint import write_checkpoint
from quantbench.quantize.inspection import quantized_operators
from quantbench.quantize.mixed.write import write_mixed
from quantbench.quantize.with_onnxruntime import write_quantized
from quantbench.schema.base import digest
from quantbench.schema.results import ArmSpec, Artifact, Run
from quantbench.schema.settings import Settings
from quantbench.sources import sentence_transformers
from quantbench.system import instruction_sets
from quantbench.system.files import file_sha256
from quantbench.system.writing import write_atomically

CHECKPOINT, IR = ".safetensors", ".xml"
"""Endings of the main file of a PyTorch checkpoint and of an OpenVINO IR; others are ONNX files."""


def optimize(run: Run, models: Path, workbench: Workbench) -> tuple[Artifact, ArmSpec]:
    """Make the optimized model of a run in a folder of its own, ``models/<run name>``.

    Raises:
        RunFailed: if a node-exclusion group that is not optional matches nothing.

    """
    settings = run.settings
    excluded = select_nodes(settings.node_exclusion, Graph.read(Path(workbench.float_model(settings).path)))
    path = models / run.name / registry.runtime(settings.framework).FILES[settings.quantization_approach]
    with workbench.reporter.stage(f"Quantizing {run.name}", 1) as advance:
        recipe = write_model(path, settings, excluded, workbench)
        made = _made(path)
        whole = path.parent if path.suffix == CHECKPOINT else path
        spec = workbench.arm(settings.framework, whole, made.sha256, settings)
        artifact = _artifact(path.relative_to(models.parent), spec, made, recipe, excluded)
        _write_folder(path, run, artifact, workbench)
        advance(1)
    return artifact, spec


def write_model(
    path: Path, settings: Settings, excluded: dict[str, tuple[str, ...]], workbench: Workbench
) -> dict[str, Any]:
    """Write the model file of the settings' approach; the choices that made it, with ``auto`` resolved."""
    exported = Path(workbench.float_model(settings).path)
    activation, weight = number_types.resolve(settings, instruction_sets.usable(workbench.environment))
    keep = sorted({name for names in excluded.values() for name in names})
    approach, args = settings.quantization_approach, settings.framework_args
    known = set(registry.runtime(settings.framework).ARGS)
    recipe: dict[str, Any] = {
        "quantization_approach": approach,
        "activation_type": activation,
        "weight_type": weight,
        "per_channel": settings.per_channel,
        "operators_to_quantize": list(settings.operators_to_quantize),
        **args.model_dump(mode="json", include=known),
    }
    if approach == "none":
        if path.suffix == CHECKPOINT:
            write_checkpoint(workbench.original(settings), args.precision, path)
        else:
            write_atomically(path, exported.read_bytes())
        return {**recipe, "activation_type": args.precision, "weight_type": args.precision, "operators_to_quantize": []}
    if approach == "mixed":
        statistics = workbench.statistics(settings) if settings.calibrated else {}
        with workbench.phase("quantization"):
            return {**recipe, "modes": write_mixed(exported, settings, weight, keep, statistics, path)}
    if path.suffix == IR:
        samples = workbench.samples(settings)
        with workbench.phase("quantization"):
            with_nncf.write_int8(exported, args, samples.count, samples.sample, path)
        return {**recipe, **with_nncf.chosen(with_nncf.read(path))}
    ranges = workbench.ranges(settings) if approach == "static" else None
    with workbench.phase("quantization"):
        write_quantized(exported, settings, (activation, weight), keep, ranges, path)
    return recipe


@dataclass(frozen=True)
class Made:
    """What is in the files of an optimized model; see ``results.Artifact``."""

    sha256: str
    bytes: int
    operators: dict[str, int]
    graph: str


def _made(path: Path) -> Made:
    if path.suffix == CHECKPOINT:
        sha256 = file_sha256(path)
        return Made(sha256, path.stat().st_size, {}, sha256)
    if path.suffix == IR:
        both, model = with_nncf.files(path), with_nncf.read(path)
        sha256 = digest([file_sha256(file) for file in both])
        size = sum(file.stat().st_size for file in both)
        return Made(sha256, size, with_nncf.quantized_operators(model), with_nncf.computation_hash(model))
    model = onnx.load(str(path))
    return Made(file_sha256(path), path.stat().st_size, quantized_operators(Graph(model)), computation_hash(model))


def _artifact(
    path: Path, spec: ArmSpec, made: Made, recipe: dict[str, Any], excluded: dict[str, tuple[str, ...]]
) -> Artifact:
    """The record of an optimized model; ``path`` is relative to the output folder."""
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        executed = registry.runtime(spec.runtime).executed(spec, Path(scratch))
    precision = recipe.get("precision", "float32")
    return Artifact(
        path=str(path),
        sha256=made.sha256,
        bytes=made.bytes,
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


def _write_folder(path: Path, run: Run, artifact: Artifact, workbench: Workbench) -> None:
    """Put beside the model file what is needed to use it and to know how it was made."""
    folder, model = path.parent, workbench.model(run.settings)
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        model.processor.raw.save_pretrained(scratch)
        for file in Path(scratch).iterdir():
            write_atomically(folder / file.name, file.read_bytes())
    for name in sentence_transformers.files(model.folder):
        write_atomically(folder / name, (model.folder / name).read_bytes())
    if path.suffix != CHECKPOINT:  # whose configuration, which names the precision, was written with it
        config = json.loads((model.folder / "config.json").read_bytes())
        config.pop("auto_map", None)  # names code of the checkpoint, of which this file needs none
        write_atomically(folder / "config.json", json.dumps(config, indent=2).encode())
    recipe = {
        "name": run.name,
        "key": run.key,
        "settings": run.settings.model_dump(mode="json"),
        "artifact": artifact.model_dump(mode="json"),
        "sources": sources(run.settings, workbench),
        "environment": workbench.environment.model_dump(mode="json"),
    }
    write_atomically(folder / "quantbench.json", json.dumps(recipe, indent=2).encode())

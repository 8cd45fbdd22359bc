"""Export: from a model to its float ONNX file, held against the model before anything is built on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.graph.fingerprint import computation_hash
from quantbench.pipeline import agreement, arms, given_file
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import Loaded
from quantbench.pipeline.model import EXPORT_SHAPE, Model
from quantbench.plugins import registry
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings, Timing
from quantbench.sources import given_files
from quantbench.sources.export import FILE, exported_sha256, newer_version, write_export
from quantbench.system import onnx_files


@dataclass(frozen=True)
class FloatModel:
    """The float ONNX export of a model, or the copy of a file that was given, which every optimized model is made from.

    Attributes:
        path: the file.
        sha256: of its content.

    """

    path: Path
    sha256: str

    @property
    def fingerprint(self) -> str:
        """What it counts as among the inputs of a stage."""
        return self.sha256

    @property
    def bytes(self) -> int:
        """Of the file, or of both where the weights are apart."""
        return sum(file.stat().st_size for file in onnx_files.files(self.path))


def export(model: Model, task: str, opset: int, context: Context) -> FloatModel:
    """The float export of a model, made once on this machine; one that was damaged since is made anew."""
    inputs = {"original": model.original, "task": task, "opset": opset, "exporter": newer_version(opset)}
    path = context.cache.path("float", inputs, FILE)

    def make() -> str:
        if exported_sha256(path) is None:
            what = "Copying the ONNX file" if model.opset else f"Exporting to ONNX, opset {opset}"
            with context.reporter.stage(what, 1) as advance:
                _write(model, task, opset, path)
                advance(1)
        return str(exported_sha256(path))

    return FloatModel(path, context.cache.once("float", inputs, make))


def _write(model: Model, task: str, opset: int, path: Path) -> None:
    original, outputs = model.original, registry.task(task).OUTPUTS
    if model.opset is not None:
        given_files.write_copy(Path(original.path), *given_file.names(original, outputs), path)
        return
    write_export(original, opset, model.processor.exact_inputs(*EXPORT_SHAPE, seed=0), outputs, path)


def hold_against_original(exported: ArmSpec, loaded: Loaded, task: str, timed: int | None, context: Context) -> None:
    """Hold that an export computes what the original does, on examples and at the longest length that is timed.

    Raises:
        RunFailed: if it does not.

    """
    outputs = registry.task(task).OUTPUTS
    original = loaded.model.original
    inputs = {"exported": exported, "original": original, "data": loaded.examples, "timed": timed}

    def compare() -> str | None:
        examples, processor = loaded.examples, loaded.model.processor
        given = loaded.model.opset is not None
        what = "the copy with the file" if given else "the export with PyTorch"
        with context.reporter.stage(f"Comparing {what}", 1) as advance:
            compared = agreement.look_at_copy if given else agreement.look
            found = compared(exported, original, examples, processor, timed, outputs, context.threads)
            advance(1)
        return found

    problem = context.cache.stored("agreements", inputs, compare)
    if problem is not None:
        raise RunFailed(problem)


def longest_timed(timing: Timing) -> int | None:
    """Tokens of the longest inputs of a length of their own that are timed; None where there are none."""
    lengths = timing.input_lengths if timing.is_timed else ()
    return max((length for length in lengths if isinstance(length, int)), default=None)


def float_model(settings: Settings, loaded: Loaded, context: Context) -> FloatModel:
    """The float export of a run's model, held against it on its examples.

    Raises:
        RunFailed: if the model cannot be exported, or its export computes something else.

    """
    model, task = loaded.model, settings.task
    found = export(model, task, settings.framework_args.opset, context)
    runtime = registry.float_runtime(model.original.runtime)
    compared = arms.arm(runtime, found.path, found.sha256, arms.in_float32(settings))
    hold_against_original(compared, loaded, task, longest_timed(settings), context)
    return found


def float_arm(exported: FloatModel, settings: Settings) -> ArmSpec:
    """The arm of the float export beside models of a run's framework: in float32, by its ``FLOAT_RUNTIME``."""
    runtime = registry.float_runtime(settings.framework)
    return arms.arm(runtime, exported.path, exported.sha256, arms.in_float32(settings))


def graph_hash(exported: FloatModel, context: Context) -> str:
    """Hash of the computation of a float export."""
    return context.cache.stored("graphs", {"model": exported}, lambda: computation_hash(external.read(exported.path)))

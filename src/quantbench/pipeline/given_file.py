"""An ONNX file as the original: looked at, loaded and tried, with how it is fed; there is no PyTorch model then.

The arm of the original is the file as it was given, behind its wiring. Versions are made from a copy under the task's
names (``sources.given_files``), which is held against it. What is quantized already, fused for one runtime or of fixed
shapes is refused: its versions would be those of something else than the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from quantbench.config.rules import MAX_OPSET, MIN_OPSET
from quantbench.errors import first_line
from quantbench.graph.view import Graph
from quantbench.pipeline import arms, wiring
from quantbench.pipeline.wiring import Unfit
from quantbench.plugins import registry
from quantbench.plugins.examples import Inputs
from quantbench.plugins.signature import Signature, Wiring
from quantbench.quantize.contents import contents
from quantbench.schema.base import digest
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Sources
from quantbench.sources import given_files, model_files
from quantbench.sources.hub import mistake
from quantbench.sources.models import model_fingerprint

Axes = Mapping[str, Mapping[int, str]]
LOW = ("float16", "bfloat16")
"""Number types of weights that no float32 model has."""
OWN = ("", "ai.onnx")
"""Domains of ONNX's own operators."""


@dataclass(frozen=True)
class GivenFile:
    """A file that can be the original.

    Attributes:
        original: its arm.
        opset: that it was written in.
        note: what a card says of it.

    """

    original: ArmSpec
    opset: int
    note: str


def check(file: Path) -> None:
    """Refuse a file that cannot be read, or whose versions would not be those of a float model.

    Raises:
        BadInput: at ``model_name_or_path``, with the reason and what to do.

    """
    problem = model_files.unloadable(file, (model_files.ONNX,)) or _unsuitable(file)
    if problem:
        _refuse(file, problem)


def open_file(
    file: Path, folder: Path, sources: Sources, tried: Sequence[Inputs], labels: int, threads: int
) -> GivenFile:
    """Load a file and try it.

    Args:
        file: the ONNX file, which was checked.
        folder: of its configuration and tokenizer.
        sources: whose task it is for.
        tried: inputs that it must answer, of unlike shapes.
        labels: how many its configuration names; 0 where it names none.
        threads: to run it with.

    Raises:
        BadInput: at ``model_name_or_path``, if it cannot be the original, with the reason and what to do.

    """
    runtime = runtime_of(file)
    fingerprint = digest({"file": model_files.fingerprint(file), "beside": model_fingerprint(folder)})
    plain = arms.original(sources, file.absolute(), fingerprint, runtime)
    try:
        session: Any = registry.runtime(runtime).load(plain, threads)
    except Exception as error:  # a runtime's own, of any kind
        _refuse(file, f"does not load: {first_line(error)}")
    outputs = registry.task(sources.task).OUTPUTS
    try:
        wired = _wired(registry.runtime(runtime).signature(session), tried[0], outputs)
    except Unfit as error:
        _refuse(file, f"{error}; export it once more for this task, with free batch size and length")
    spec = plain.model_copy(update={"options": {**plain.options, **wired.option()}})
    for inputs in tried:
        for problem in _tried(registry.runtime(runtime).load(spec, threads), inputs, outputs, labels):
            _refuse(file, problem)
    version = given_files.opset(file)
    name = registry.runtime(runtime).SUMMARY.partition(",")[0]
    note = (
        f"The original is the ONNX file {file.name} (opset {version}) as it was given, run by {name}: there is no "
        "PyTorch model, and what the file itself changed against one is in no figure here"
    )
    return GivenFile(spec, version, note)


def runtime_of(file: Path) -> str:
    """The runtime that loads a file by its ending."""
    return next(name for name in registry.names("runtimes") if file.suffix.lower() in registry.runtime(name).ENDINGS)


def names(spec: ArmSpec, outputs: Axes) -> tuple[dict[str, str], dict[int, str]]:
    """What an original's inputs and outputs are called in the task; see ``given_files.write_copy``."""
    wired = Wiring.model_validate(spec.options["wiring"])
    return {item.name: item.source for item in wired.inputs}, dict(zip(wired.outputs, outputs, strict=True))


def _refuse(file: Path, problem: str) -> NoReturn:
    raise mistake("model_name_or_path", f"{file}, an ONNX file, cannot be the original: it {problem}")


def _unsuitable(file: Path) -> str | None:
    """Why versions of a file would not be those of the float model, by its graph."""
    graph = Graph.read(file)
    found = contents(graph)
    few = {**found.stored, **found.operators}
    if few or found.ranges or found.dynamic:
        told = ", ".join(f"{name} {count}" for name, count in few.items()) or f"{found.ranges} rounded tensors"
        return f"is quantized already ({told}); give the float file that it was made from, and judge it by check"
    foreign = sorted({f"{node.op_type} of {node.domain}" for node in graph.nodes if node.domain not in OWN})
    if foreign:
        return f"has operators that are not ONNX's own ({foreign[0]}); give the file from before it was optimized"
    lower = sum(found.weights.get(kind, 0) for kind in LOW)
    if lower > found.weights.get("float32", 0):
        return "has its weights in half precision; give the file in float32"
    version = given_files.opset(file)
    if not MIN_OPSET <= version <= MAX_OPSET:
        return f"has opset {version}, where {MIN_OPSET} to {MAX_OPSET} can be worked on; export it in one of these"
    return None


def _wired(signature: Signature, batch: Inputs, outputs: Axes) -> Wiring:
    """How the file is fed, by names alone, since there is nothing yet to try other ways against.

    Raises:
        Unfit: if its inputs or outputs are not told apart by their names, or are not those of the task.

    """
    ways = list(wiring.inputs(signature, batch, wiring.Facts()))
    if len(ways) > 1:
        told = ", ".join(item.name for item in signature.inputs)
        raise Unfit(f"names its inputs {told}, which does not tell {', '.join(batch)} apart")
    found = ways[0]
    for item in found.inputs:
        if item.source not in batch:
            raise Unfit(f"takes {item.name}, which is not given with the texts")
        if np.dtype(item.type) != np.asarray(batch[item.source]).dtype:
            raise Unfit(f"takes {item.name} as {item.type}, not as {np.asarray(batch[item.source]).dtype}")
    if found.batch is not None or found.length is not None:
        sizes = {"rows": found.batch, "tokens": found.length}
        fixed = " and ".join(f"{size} {what}" for what, size in sizes.items() if size is not None)
        raise Unfit(f"takes {fixed} at a time, no more and no less")
    places = {tensor.name: place for place, tensor in enumerate(signature.outputs)}
    alone = len(outputs) == len(places) == 1
    if not alone and not set(outputs) <= set(places):
        raise Unfit(f"gives {', '.join(places) or 'nothing'}, where the task reads {' and '.join(outputs)}")
    chosen = (0,) if alone else tuple(places[name] for name in outputs)
    return found.model_copy(update={"outputs": chosen, "long": tuple(1 in axes for axes in outputs.values())})


def _tried(session: Any, inputs: Inputs, outputs: Axes, labels: int) -> list[str]:
    """What is wrong with a file's answers to a batch of ordinary inputs."""
    shape = np.shape(next(iter(inputs.values())))
    told = " x ".join(map(str, shape))
    try:
        arrays = session.predict(inputs)
    except Exception as error:  # a runtime's own, of any kind
        return [f"cannot be run on an input of {told}: {first_line(error)}"]
    for (name, axes), array in zip(outputs.items(), arrays, strict=True):
        leading = shape[: len(axes)]
        if array.ndim < len(axes) or array.shape[: len(axes)] != leading:
            given = " x ".join(map(str, array.shape))
            return [f"gives {name} of {given} for an input of {told}, which is no output of this task"]
        if np.isnan(array).any():
            return ["answers NaN, which is no number, on an ordinary input: its weights are broken"]
        if name == "logits" and labels and array.shape[-1] != labels:
            return [f"gives {array.shape[-1]} numbers for {labels} labels of its config.json; lay the right one there"]
    return []

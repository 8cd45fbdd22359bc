"""Checkpoint to float ONNX. The only place that knows the exporter.

PyTorch's TorchScript-based exporter is used for every opset from 11 to 20: the newer exporter cannot go below 18, and
one exporter for all keeps graphs comparable. Only what it cannot do is left to the newer one, which is called through
onnxscript, an extra. Attention is exported in its eager form, which all opsets can express, and a mixture of experts in
that which computes each token's own experts at once: a loop over them would be frozen as it fell.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.errors import RunFailed, first_line
from quantbench.graph import external
from quantbench.schema.results import ArmSpec
from quantbench.served.pytorch import accepted
from quantbench.sources.checkpoints import named
from quantbench.system import onnx_files
from quantbench.system.files import content_sha256
from quantbench.system.writing import SCRATCH, write_atomically

FILE = "model.onnx"
SUM = ".sha256"
"""Ending of the file beside it with its hash, by which a damaged one is known."""
AXES = {0: "batch_size", 1: "sequence_length"}
NEWER = 18
"""The lowest opset of PyTorch's newer exporter (torch 2.13)."""
NEWER_LIBRARY, NEWER_EXTRA = "onnxscript", "exporter"
EXPERTS = "batched_mm"
"""What transformers calls a mixture of experts without a loop."""


def write_export(
    spec: ArmSpec,
    opset: int,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    outputs: Mapping[str, Mapping[int, str]],
    path: Path,
) -> None:
    """Write a checkpoint as a float ONNX file with free batch size and length.

    Args:
        spec: the PyTorch arm: the checkpoint's folder and the options to load it with.
        opset: 11 to 20.
        inputs: example inputs, of shape (batch, length) or images; they set names and order of the graph's inputs.
        outputs: the model's outputs to export, with their free axes.
        path: the file to write.

    Raises:
        RunFailed: if no exporter that there is can export the model, or the opset cannot express it.

    """
    model = _eager_model(spec)
    given = {name: inputs[name] for name in accepted(model, inputs)}
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        made = Path(scratch) / FILE  # a file, as beyond 2 GiB the exporter writes weights beside it
        try:
            _trace(model, given, opset, outputs, made)
        except RunFailed:
            raise
        except Exception as error:  # the exporter's and the model's own, of any kind
            said = f"{type(model).__name__} cannot be exported to ONNX at opset {opset}: {first_line(error)}"
            if steps := to_use_newer(opset):
                raise RunFailed(f"{said}; the newer exporter may do it: {steps}") from error
            _capture(model, given, opset, outputs, made, said)
        write_tidied(external.read(made), path)


def to_use_newer(opset: int) -> str | None:
    """What is to be done for the newer exporter to be at hand, in words; None where it is."""
    steps = [f"set framework_args.opset to {NEWER} or more"] if opset < NEWER else []
    if find_spec(NEWER_LIBRARY) is None:
        steps.append(f"pip install 'quantbench[{NEWER_EXTRA}]'")
    return " and ".join(steps) or None


def newer_version(opset: int) -> str | None:
    """The version of what the newer exporter is called through; None where it is not at hand."""
    return None if to_use_newer(opset) else version(NEWER_LIBRARY)


def _trace(
    model: Any,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    opset: int,
    outputs: Mapping[str, Mapping[int, str]],
    path: Path,
) -> None:
    """The exporter's own file."""
    import torch

    wrapped = _in_order(model, list(inputs), list(outputs)).eval()
    free = {name: _free(array) for name, array in inputs.items()}
    with _quiet(), _broadcast_masks(), torch.inference_mode():
        torch.onnx.export(
            wrapped,
            tuple(torch.from_numpy(array) for array in inputs.values()),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            do_constant_folding=True,
            dynamic_axes={**free, **{name: dict(axes) for name, axes in outputs.items()}},
        )


def _free(array: np.ndarray[Any, Any]) -> dict[int, str]:
    """The axes of an input that are free, by place: of tokens both, of images the first."""
    return {axis: name for axis, name in AXES.items() if axis == 0 or array.ndim == len(AXES)}


def _capture(
    model: Any,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    opset: int,
    outputs: Mapping[str, Mapping[int, str]],
    path: Path,
    before: str,
) -> None:
    """The newer exporter's own file; it refuses where it would have to freeze an axis that is to be free.

    Raises:
        RunFailed: if it cannot export the model either, with what was said ``before``.

    """
    import torch

    free = tuple(_free(array) for array in inputs.values())
    try:
        with _quiet(), _broadcast_masks(), torch.inference_mode():
            torch.onnx.export(
                _in_order(model, list(inputs), list(outputs)).eval(),
                tuple(torch.from_numpy(array) for array in inputs.values()),
                str(path),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=(free,),
            )
    except Exception as error:  # the exporter's and the model's own, of any kind
        raise RunFailed(f"{before}; nor by the newer exporter: {first_line(error.__cause__ or error)}") from error


def write_tidied(model: Any, path: Path) -> None:
    """Write a model with constants as initializers and all shapes, and the hash that :func:`exported_sha256` looks for.

    Raises:
        RunFailed: if an operator does not take the types that it is given.

    """
    onnx_files.write(_tidy(model), path)
    write_atomically(path.with_suffix(SUM), content_sha256(onnx_files.files(path)).encode())


def exported_sha256(path: Path) -> str | None:
    """The hash of an export that is there as it was written; None where it is not, or was damaged since."""
    written = path.with_suffix(SUM)
    if not (path.exists() and written.exists()):
        return None
    sha256 = content_sha256(onnx_files.files(path))
    return sha256 if written.read_text(encoding="utf-8") == sha256 else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings and its dumps of whole graphs, which the user can do nothing with."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    dump = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None  # its switch is always on (torch 2.13)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._C._jit_onnx_log = dump


@contextmanager
def _broadcast_masks() -> Iterator[None]:
    """With attention masks made by broadcasting of positions, where transformers would map a function over them.

    The two are the same for masks by position, as those of a window in both directions; only the first can be traced.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask

    def mask(*args: Any, **kwargs: Any) -> Any:
        return eager_mask(*args, **{**kwargs, "use_vmap": False})

    ALL_MASK_ATTENTION_FUNCTIONS["eager"] = mask
    try:
        yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS["eager"]


def _eager_model(spec: ArmSpec) -> Any:
    from quantbench.plugins.registry import runtime

    session: Any = runtime("pytorch").load(spec, 1)
    session.model.set_attn_implementation("eager")
    session.model.set_experts_implementation(EXPERTS)  # which changes nothing in a model without experts
    return session.model


def _in_order(model: Any, names: Sequence[str], outputs: Sequence[str]) -> Any:
    """The model as a module that takes its inputs by position and returns the named outputs only."""
    import torch

    class InOrder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            result = self.model(**dict(zip(names, tensors, strict=True)))
            return tuple(named(result, outputs))

    return InOrder()


def _tidy(model: Any) -> Any:
    """Make every constant an initializer that is read directly, and infer types and shapes of all tensors.

    onnx-ir's pass that removes Identity nodes is not used: it removes those of computed tensors too, which would change
    the hash of what is computed.
    """
    import onnx_ir
    from onnx_ir.passes.common import LiftConstantsToInitializersPass

    tidied = onnx_ir.from_proto(model)
    LiftConstantsToInitializersPass(size_limit=0)(tidied)
    for node in tidied.graph.all_nodes():
        if node.op_type == "Identity" and node.inputs[0].is_initializer() and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            node.graph.remove(node, safe=True)
    for value in tidied.graph.initializers.values():
        value.type = value.shape = None  # which would be written once more, beside the tensor's own
    tidied.graph.name = "quantbench"
    return _typed(onnx_ir.to_proto(tidied))


def _typed(model: Any) -> Any:
    """The model with types and shapes of all tensors.

    Raises:
        RunFailed: if an operator does not take the types that it is given, as those of integers before opset 12.

    """
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        if "unsupported type" not in str(error):
            return onnx.shape_inference.infer_shapes(model)
        opset = model.opset_import[0].version
        reason = " ".join(str(error).removeprefix("[ShapeInferenceError]").split())
        raise RunFailed(f"opset {opset} cannot express this model {reason}; set framework_args.opset higher") from error

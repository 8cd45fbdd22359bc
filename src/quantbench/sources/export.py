"""Checkpoint to float ONNX. The only place that knows the exporter.

PyTorch's TorchScript-based exporter is used for every opset from 11 to 20: the newer exporter cannot go below 18, and
one exporter for all keeps graphs comparable. Attention is exported in its eager form, which all opsets can express.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        RunFailed: if the model cannot be traced, or the opset cannot express it.

    """
    model = _eager_model(spec)
    names = accepted(model, inputs)
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        traced = Path(scratch) / FILE  # a file, as beyond 2 GiB the exporter writes weights beside it
        try:
            _trace(model, {name: inputs[name] for name in names}, opset, outputs, traced)
        except RunFailed:
            raise
        except Exception as error:  # the exporter's and the model's own, of any kind
            name = type(model).__name__
            raise RunFailed(f"{name} cannot be exported to ONNX at opset {opset}: {first_line(error)}") from error
        write_tidied(external.read(traced), path)


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
    free = {
        name: {axis: AXES[axis] for axis in AXES if axis == 0 or array.ndim == len(AXES)}
        for name, array in inputs.items()
    }
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

"""A checkpoint compiled ahead of time by Inductor: code and packed weights in one package, for all shapes."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from quantbench.errors import RunFailed, first_line
from quantbench.graph import external
from quantbench.plugins.registry import runtime
from quantbench.schema.results import ArmSpec
from quantbench.served.inductor import INPUTS
from quantbench.system.writing import write_atomically

COMPILERS = ("g++", "clang++", "c++")
BATCH, LENGTH = 3, 11
"""Of the inputs that it is traced with; other sizes are not taken for constants."""


Int8 = Callable[[Any, tuple[Any, ...], Sequence[str]], Any]
"""From an exported module, examples of its inputs and their names to the same in int8."""


def write_compiled(original: ArmSpec, exported: Path, precision: str, path: Path, int8: Int8 | None = None) -> None:
    """Write a package of a checkpoint.

    Args:
        original: the PyTorch arm of the model as it was given.
        exported: its float ONNX export, which says what goes in and out and which axes are free.
        precision: of weights and products, as torch names it.
        path: of the package.
        int8: makes of it what is compiled; None for the checkpoint as it is.

    Raises:
        RunFailed: if there is no C++ compiler here, or Inductor cannot compile the model.

    """
    if not any(map(shutil.which, COMPILERS)):
        raise RunFailed(f"framework inductor needs a C++ compiler to compile with; install one ({COMPILERS[0]})")
    import torch

    options = {**original.options, "precision": precision}
    session: Any = runtime("pytorch").load(original.model_copy(update={"options": options}), torch.get_num_threads())
    graph = external.read(exported).graph
    names = [item.name for item in graph.input]
    module = _module(session.model, names, [item.name for item in graph.output])
    examples = tuple(torch.from_numpy(_example(item)) for item in graph.input)
    free = tuple(_free(item, torch.export.Dim.AUTO) for item in graph.input)
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = Path(scratch) / path.name
        try:
            program = torch.export.export(module, examples, dynamic_shapes=(free,))
            if int8 is not None:
                rounded = int8(program.module(), examples, names)
                program = torch.export.export(rounded, examples, dynamic_shapes=free)
            _package(program, names, target)
        except Exception as error:
            raise RunFailed(f"cannot be compiled by Inductor: {first_line(error)}") from error
        write_atomically(path, target.read_bytes())


def _package(program: Any, names: Sequence[str], target: Path) -> None:
    from torch._inductor import aoti_compile_and_package

    configs = {"freezing": True, "aot_inductor.metadata": {INPUTS: ",".join(names)}}
    aoti_compile_and_package(program, package_path=str(target), inductor_configs=configs)


def _module(model: Any, names: list[str], results: list[str]) -> Any:
    """The model with inputs and outputs by place."""
    import torch

    class ByPlace(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: Any) -> tuple[Any, ...]:
            found = self.model(**dict(zip(names, given, strict=True)))
            return tuple(found[name] for name in results)

    return ByPlace().eval()


def _example(item: onnx.ValueInfoProto) -> np.ndarray[Any, Any]:
    kind, sizes = item.type.tensor_type, (BATCH, LENGTH)
    shape = [dim.dim_value or sizes[min(place, 1)] for place, dim in enumerate(kind.shape.dim)]
    return np.ones(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type))


def _free(item: onnx.ValueInfoProto, free: Any) -> dict[int, Any]:
    """The axes of an input that may be of any size."""
    return {place: free for place, dim in enumerate(item.type.tensor_type.shape.dim) if not dim.dim_value}

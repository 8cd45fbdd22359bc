"""ONNX files as originals: where what belongs to one lies, and the copy that versions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantbench.graph import external
from quantbench.sources.adapters import CONFIG as ADAPTER
from quantbench.sources.export import write_tidied
from quantbench.sources.hub import mistake
from quantbench.sources.model_files import ONNX
from quantbench.sources.models import PICKLED, WEIGHTS

KEY = "model_name_or_path"
SUBFOLDER = "onnx"
"""Where repositories of the hub have such files."""


def find(place: Path) -> Path | None:
    """The ONNX file that a place names: itself, or the only one of a folder without a checkpoint; None without any.

    Raises:
        BadInput: at ``model_name_or_path``, if there are several.

    """
    if place.is_file():
        return place
    if any((place / name).exists() for name in (*WEIGHTS, *PICKLED, ADAPTER)):
        return None
    found = sorted((*place.glob(f"*{ONNX}"), *place.glob(f"{SUBFOLDER}/*{ONNX}")))
    if len(found) > 1:
        names = ", ".join(path.relative_to(place).as_posix() for path in found)
        raise mistake(
            KEY, f"model folder {place} holds several ONNX files ({names}); name the one that is the original"
        )
    return found[0] if found else None


def home(file: Path) -> Path:
    """The folder with the configuration and the tokenizer of a file: its own, or the one above.

    Raises:
        BadInput: at ``model_name_or_path``, if neither has a ``config.json``.

    """
    own = file.absolute().parent
    for folder in (own, own.parent):
        if (folder / "config.json").is_file():
            return folder
    raise mistake(KEY, f"{file} has no config.json beside it or one folder up; lay the model's and its tokenizer there")


def opset(file: Path) -> int:
    """The version of ONNX's own operators that a file was written in; 0 where it names none."""
    import onnx

    model = onnx.load(str(file), load_external_data=False)
    return next((int(item.version) for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)


def write_copy(file: Path, inputs: Mapping[str, str], outputs: Mapping[int, str], path: Path) -> None:
    """Write a copy that takes and gives what an export of the task would, and is tidied like one.

    Args:
        file: the original.
        inputs: the task's name of every input, by the file's.
        outputs: the task's outputs in their order, by their place among the file's; others are left out.
        path: the file to write.

    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    model = onnx_ir.from_proto(external.read(file))
    graph = model.graph
    taken = [value for value in graph.inputs if value.name not in graph.initializers]
    given = [graph.outputs[place] for place in outputs]
    graph.inputs[:] = taken
    graph.outputs[:] = given
    RemoveUnusedNodesPass()(model)
    wanted = [(value, inputs[str(value.name)]) for value in taken]
    _rename(graph, [*wanted, *zip(given, outputs.values(), strict=True)])
    _name_nodes(graph)
    write_tidied(onnx_ir.to_proto(model), path)


def _rename(graph: Any, wanted: list[tuple[Any, str]]) -> None:
    """Give tensors their names; another that has such a name gets a new one."""
    chosen, names = {id(value) for value, _ in wanted}, {name for _, name in wanted}
    others = [value for node in graph.all_nodes() for value in node.outputs if id(value) not in chosen]
    for value in [*others, *graph.initializers.values()]:
        if value.name in names:
            value.name = f"{value.name}_of_the_file"
    for number, (value, _) in enumerate(wanted):
        value.name = f"renamed_{number}_of_the_file"  # so that two can change their names with each other
    for value, name in wanted:
        value.name = name


def _name_nodes(graph: Any) -> None:
    """Give every node a name of its own, by which quantizers and exclusion groups know it."""
    seen: set[str] = set()
    for number, node in enumerate(graph.all_nodes()):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}_unnamed"
        seen.add(node.name)

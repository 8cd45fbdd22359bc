"""A checkpoint in another precision than it was given in."""

from __future__ import annotations

import tempfile
from pathlib import Path

from quantbench.plugins.registry import runtime
from quantbench.schema.results import ArmSpec
from quantbench.system.writing import write_atomically

LARGEST_FILE = "1000GB"
"""Size above which weights would be written into several files; none are."""


def write_checkpoint(original: ArmSpec, precision: str, path: Path) -> None:
    """Write a checkpoint folder of a model in a floating-point precision.

    Args:
        original: the PyTorch arm of the model as it was given.
        precision: name of the type, such as ``bfloat16``, as torch has it.
        path: the safetensors file; the model's configuration, and its code if it has any, are written beside it.

    """
    options = {**original.options, "precision": precision}
    session = runtime("pytorch").load(original.model_copy(update={"options": options}), 1)
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        session.model.save_pretrained(scratch, max_shard_size=LARGEST_FILE)  # type: ignore[attr-defined]
        for file in (*Path(original.path).glob("*.py"), *Path(scratch).iterdir()):
            write_atomically(path.parent / file.name, file.read_bytes())
    assert path.exists(), "as transformers names the file"

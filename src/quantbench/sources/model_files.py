"""Model files of any origin: what belongs to one, and why one cannot be loaded where its bytes already tell."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from quantbench.errors import first_line
from quantbench.system.files import content_sha256

ONNX, IR = ".onnx", ".xml"
OTHERS = {
    ".pb": "TensorFlow",
    ".pbtxt": "TensorFlow",
    ".h5": "Keras",
    ".keras": "Keras",
    ".tflite": "TensorFlow Lite",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".safetensors": "safetensors",
    ".gguf": "llama.cpp",
    ".ort": "ONNX Runtime's own format",
    ".bin": "weights without their graph",
}
"""What other endings of model files stand for."""
POINTER = b"version https://git-lfs"
"""How a file begins whose content Git LFS was to fetch."""
IR_WEIGHTS = re.compile(r'<data [^>]*\boffset="(\d+)"[^>]*\bsize="(\d+)"')


def is_model(path: Path) -> bool:
    """Whether a file is called like a model's."""
    return path.suffix.lower() in (ONNX, IR, *OTHERS)


def unloadable(path: Path, endings: Collection[str]) -> str | None:
    """Why a file cannot be loaded, as far as its name and its bytes tell; None where they do not.

    Args:
        path: of a file that is there.
        endings: of the files that can be loaded.

    """
    ending = path.suffix.lower()
    if ending not in endings:
        kind = f"a file of {OTHERS[ending]}" if ending in OTHERS else "no model file by its ending"
        return f"is {kind}; {' and '.join(sorted(endings))} files can be loaded, so convert it"
    try:
        with path.open("rb") as file:
            begin = file.read(len(POINTER))
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not begin:
        return "is empty"
    if begin == POINTER:
        return "is a pointer of Git LFS, not the file itself: git lfs pull fetches it"
    try:
        lacking = _lacking(path)
    except Exception as error:  # of the parsers, for whatever stands in the file
        return f"is damaged, or no {ending} file: {first_line(error)}"
    return lacking


def files(path: Path) -> list[Path]:
    """A model's file and those that hold its weights, of a file that can be loaded."""
    return [path, *dict.fromkeys(part for part, _ in _parts(path))]


def fingerprint(path: Path) -> str:
    """Hash of a model's files."""
    return content_sha256(files(path))


def _lacking(path: Path) -> str | None:
    """What is missing of the weights that lie in other files."""
    for part, size in _parts(path):
        if not part.is_file():
            return f"has its weights in {part.name}, which is not beside it"
        if part.stat().st_size < size:
            return f"has its weights in {part.name}, which is cut off: {part.stat().st_size:,} of {size:,} bytes"
    return None


def _parts(path: Path) -> list[tuple[Path, int]]:
    """Files of weights, and how many bytes of each are needed, as far as the format is known here."""
    if path.suffix.lower() not in (ONNX, IR):
        return []
    if path.suffix.lower() == IR:
        text = path.read_text(encoding="utf-8")
        if "<net" not in text:
            raise ValueError("there is no network in it")
        ends = [int(offset) + int(size) for offset, size in IR_WEIGHTS.findall(text)]
        return [(path.with_suffix(".bin"), max(ends))] if ends else []
    import onnx

    from quantbench.graph import external

    model = onnx.load(str(path), load_external_data=False)
    if not model.graph.node and not model.graph.output:
        raise ValueError("there is no graph in it")
    needed: dict[Path, int] = {}
    for tensor in external.outside(model):
        about = external.facts(tensor)
        part = path.parent / about["location"]
        needed[part] = max(needed.get(part, 0), int(about.get("offset", 0)) + int(about.get("length", 0)))
    return list(needed.items())

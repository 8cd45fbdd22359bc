"""Inputs for ONNX files of any origin, drawn from the names, types and axes in the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.errors import BadInput, Mistake, first_line

if TYPE_CHECKING:
    import numpy as np

    from quantbench.timing.session import Shape

HIGHEST = 50
"""Whole numbers are drawn below this: vocabularies are larger."""
KINDS = {"tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(bool)": "bool"}
FLOATS = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}
Arrays = dict[str, "np.ndarray[Any, Any]"]


def shapes(files: Mapping[str, Path], asked: Sequence[tuple[int, ...]], seed: int) -> list[Shape]:
    """One batch for every shape, that all files take; each file has run it once.

    Args:
        files: ONNX files by name.
        asked: (batch size, input length) or (batch size,).
        seed: of what is drawn.

    Raises:
        BadInput: if a file cannot be loaded or run, or files differ in their inputs.

    """
    from quantbench.timing.session import Shape

    if len(files) < 2:
        raise BadInput([Mistake("models", "needs at least two files to compare, by names of your own")])
    wanted = [_shape(shape) for shape in asked]
    if not wanted:
        raise BadInput([Mistake("shapes", "is empty; name one, such as (1, 128)")])
    sessions = _loaded(files)
    batches = [_alike(sessions, batch, length, seed) for batch, length in wanted]
    for name, session in sessions.items():
        _run_once(name, session, batches[0])
    return [Shape(batch, length, [made]) for (batch, length), made in zip(wanted, batches, strict=True)]


def _shape(shape: Sequence[int]) -> tuple[int, int | None]:
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sizes) not in (1, 2) or not all(type(size) is int and size > 0 for size in sizes):
        message = "must be (batch size, input length), or (batch size,) where inputs have no length"
        raise BadInput([Mistake(f"shapes: {shape!r}", message)])
    return sizes[0], sizes[1] if len(sizes) == 2 else None


def _loaded(files: Mapping[str, Path]) -> dict[str, Any]:
    """A session of every file."""
    import onnxruntime

    from quantbench.served.onnxruntime import session_options

    found, mistakes = {}, []
    for name, path in files.items():
        if not path.is_file():
            mistakes.append(Mistake(f"{name} ({path})", "there is no such file"))
            continue
        try:
            options = session_options(99, 1)
            found[name] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no class, and tell of what is in the file
            mistakes.append(Mistake(f"{name} ({path})", f"ONNX Runtime cannot load it: {first_line(error)}"))
    if mistakes:
        raise BadInput(mistakes)
    return found


def _alike(sessions: Mapping[str, Any], batch: int, length: int | None, seed: int) -> Arrays:
    """The arrays that every file takes at a shape."""
    made = {name: _arrays(name, session, batch, length, seed) for name, session in sessions.items()}
    first = next(iter(made))
    told = {name: _described(arrays) for name, arrays in made.items()}
    mistakes = [
        Mistake(name, f"takes other inputs than {first}: {text} against {told[first]}")
        for name, text in told.items()
        if text != told[first]
    ]
    if mistakes:
        raise BadInput(mistakes)
    return made[first]


def _described(arrays: Arrays) -> str:
    """Names, types and shapes of inputs, whatever their order."""
    return ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in sorted(arrays.items()))


def _arrays(name: str, session: Any, batch: int, length: int | None, seed: int) -> Arrays:
    """Drawn inputs of one file; equal inputs of two files are drawn alike.

    The first axis is the batch, every other one without a size of its own the length.
    """
    import numpy as np

    inputs = sorted(session.get_inputs(), key=lambda item: str(item.name))
    sizes = {
        item.name: [_size(axis, batch if place == 0 else length) for place, axis in enumerate(item.shape)]
        for item in inputs
    }
    mistakes = _mistakes(name, sizes, batch, length)
    mistakes += [
        Mistake(name, f"its input {item.name} is a {item.type}, which cannot be drawn")
        for item in inputs
        if item.type not in KINDS and item.type not in FLOATS
    ]
    if mistakes:
        raise BadInput(mistakes)
    generator = np.random.default_rng(seed)
    return {item.name: _array(item.name, item.type, sizes[item.name], generator) for item in inputs}


def _size(axis: Any, free: int | None) -> int | None:
    """An axis as the file has it; where it is free, as asked for."""
    return axis if isinstance(axis, int) else free


def _mistakes(name: str, sizes: Mapping[str, list[int | None]], batch: int, length: int | None) -> list[Mistake]:
    found = []
    for key, axes in sizes.items():
        if axes and axes[0] != batch:
            found.append(Mistake(name, f"its input {key} takes batches of {axes[0]} only, not of {batch}"))
        if None in axes:
            found.append(Mistake(name, f"its input {key} has a free length; name one: ({batch}, 128)"))
    if length is not None and not any(length in axes[1:] for axes in sizes.values()):
        fixed = sorted({f"{key} {axes}" for key, axes in sizes.items()})
        found.append(Mistake(name, f"no input has the length {length}; there is: {', '.join(fixed)}"))
    return found


def _array(name: str, kind: str, sizes: Sequence[int | None], generator: np.random.Generator) -> Any:
    if kind in FLOATS:
        return generator.standard_normal(sizes).astype(FLOATS[kind])  # type: ignore[arg-type]
    if "mask" in name:
        return _full(sizes, 1, KINDS[kind])
    if "token_type" in name or "segment" in name:
        return _full(sizes, 0, KINDS[kind])
    return generator.integers(0, HIGHEST, sizes).astype(KINDS[kind])  # type: ignore[arg-type]


def _full(sizes: Sequence[int | None], value: int, kind: str) -> Any:
    import numpy as np

    return np.full(sizes, value, dtype=kind)


def _run_once(name: str, session: Any, batch: Arrays) -> None:
    try:
        session.run(None, batch)
    except Exception as error:
        message = f"ONNX Runtime cannot run it on drawn inputs ({_described(batch)}): {first_line(error)}"
        raise BadInput([Mistake(name, message)]) from error

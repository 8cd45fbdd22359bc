"""A session behind a wiring: files of any origin take a task's batches and give its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quantbench.plugins.examples import Inputs
from quantbench.plugins.protocols import Session
from quantbench.plugins.signature import KEY, Wiring

Array = np.ndarray[Any, Any]


def wired(session: Session, options: Mapping[str, Any]) -> Session:
    """The session of an arm, behind the wiring that its options may have."""
    return Wired(session, Wiring.model_validate(options[KEY])) if KEY in options else session


class Wired:
    """A session that takes a task's inputs; see ``protocols.Session``.

    Batches are cut into as many as the file takes, the last one filled up with its own last row, and texts are padded
    to a fixed length; what was filled up is cut off the outputs, which are float32.
    """

    def __init__(self, session: Session, wiring: Wiring) -> None:
        self._session, self._wiring = session, wiring

    def predict(self, inputs: Inputs) -> list[Any]:
        """The task's outputs of one batch.

        Raises:
            ValueError: if the file gives fewer rows than it was fed with, or a row is longer than its length.

        """
        rows, width = _size(inputs)
        parts = [self._chosen(self._session.predict(feed), width) for feed in feeds(inputs, self._wiring)]
        found = [np.concatenate(arrays)[:rows] for arrays in zip(*parts, strict=True)]
        if any(len(array) != rows for array in found):
            raise ValueError(f"the file gives {min(map(len, found))} rows of {rows}")
        return found

    def prepare(self, inputs: Inputs) -> Callable[[], object]:
        """A call that runs one batch, however many runs of the file that takes."""
        calls = [self._session.prepare(feed) for feed in feeds(inputs, self._wiring)]
        if len(calls) == 1:
            return calls[0]
        return lambda: [call() for call in calls]

    def _chosen(self, outputs: list[Any], width: int | None) -> list[Array]:
        """The task's outputs of one run, without what was filled up."""
        found = []
        for place, long in zip(self._wiring.outputs, self._wiring.long, strict=True):
            array = np.asarray(outputs[place]).astype(np.float32)
            if long and self._wiring.length is not None and width is not None:
                array = array[:, array.shape[1] - width :] if self._wiring.left else array[:, :width]
            found.append(array)
        return found


def feeds(inputs: Inputs, wiring: Wiring) -> list[dict[str, Array]]:
    """What a file is fed with for a batch of the task, run by run.

    Raises:
        ValueError: if a row is longer than the file's length.

    """
    rows, width = _size(inputs)
    batch = wiring.batch or rows
    if wiring.length is not None and width is not None and width > wiring.length:
        raise ValueError(f"the file takes {wiring.length} tokens, a row has {width}")
    whole = {item.name: _filled(_made(item.source, inputs, wiring), item.fill, wiring) for item in wiring.inputs}
    types = {item.name: item.type for item in wiring.inputs}
    return [
        {name: np.ascontiguousarray(_rows(array, start, batch), types[name]) for name, array in whole.items()}
        for start in range(0, rows, batch)
    ]


def _made(source: str, inputs: Inputs, wiring: Wiring) -> Array:
    """A task's input, or what stands for one that its tokenizer does not give."""
    if source in inputs:
        return np.asarray(inputs[source])
    ids = np.asarray(inputs["input_ids"])
    mask = np.asarray(inputs.get("attention_mask", np.ones_like(ids)))
    if source == "attention_mask":
        return mask
    if source == "position_ids":
        first = wiring.first_position
        counted = np.cumsum(mask, axis=1) * mask
        return counted + first - 1 if first else np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return np.zeros_like(ids)


def _filled(array: Array, fill: int, wiring: Wiring) -> Array:
    """Padded to the file's length."""
    if wiring.length is None or array.shape[1] == wiring.length:
        return array
    missing = wiring.length - array.shape[1]
    return np.pad(array, [(0, 0), (missing, 0) if wiring.left else (0, missing)], constant_values=fill)


def _size(inputs: Inputs) -> tuple[int, int | None]:
    """Rows of a batch, and its tokens where there are some."""
    if "input_ids" in inputs:
        rows, width = np.shape(inputs["input_ids"])
        return int(rows), int(width)
    return len(next(iter(inputs.values()))), None


def _rows(array: Array, start: int, batch: int) -> Array:
    """The rows of one run, the last one repeated where there are too few."""
    found = array[start : start + batch]
    return found if len(found) == batch else np.concatenate([found, np.repeat(found[-1:], batch - len(found), axis=0)])

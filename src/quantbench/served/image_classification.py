"""Images to a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from . import pictures, sure

USAGE = "the path of a picture"
OPTIONAL: tuple[str, ...] = ()
"""Fields that a row may have besides."""


class Pixels(Sequence[Mapping[str, Any]]):
    """The model's inputs of images, made when they are asked for: all at once would not fit into memory."""

    def __init__(self, images: Any, processor: Any) -> None:
        self._images, self._processor = images, processor

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return {pictures.INPUT: self._processor.pixels(self._images[index])}


@dataclass(frozen=True)
class Encoded:
    """Images: pixels of each, and its patches."""

    inputs: Sequence[Mapping[str, Any]]
    costs: Sequence[int]


def fields(args: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has: an image, or its path."""
    return ("primary",)


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Pixels of rows of a ``primary`` image; ``args`` has ``labels``, the model's label names, and ``patches``."""
    return encode_images([row["primary"] for row in rows], processor, args)


def encode_images(images: Sequence[Any], processor: Any, args: Mapping[str, Any]) -> Encoded:
    """Pixels of images or of their paths, each read when it is asked for."""
    return Encoded(Pixels(images, processor), [args["patches"]] * len(images))


def decode(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """Numbers of the five most likely labels, the likeliest first.

    Args:
        outputs: logits of shape (batch, labels) as the first element.
        row: the image's place in the batch.
        encoded: the images.
        index: the image's place among them.

    """
    return tuple(int(number) for number in np.argsort(-outputs[0][row], kind="stable")[: sure.TOP])


def certainty(outputs: Sequence[Any], row: int, encoded: Any, index: int) -> tuple[float, ...]:
    """The share of each label that is predicted."""
    every = sure.softmax(np.asarray(outputs[0][row], dtype=np.float64))
    return tuple(float(every[int(number)]) for number in decode(outputs, row, encoded, index))


def answers(
    encoded: Any,
    predictions: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    args: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The ``label`` of each image, and the ``scores`` of the likeliest labels."""
    found = []
    for prediction, share in zip(predictions, shares, strict=True):
        names = [args["labels"][int(number)] for number in prediction]
        found.append({"label": names[0], "scores": sure.named(names, share)})
    return found


def show(answer: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The likeliest labels with their shares."""
    return sure.shown(answer["scores"], list(answer["scores"])[: sure.SHOWN])

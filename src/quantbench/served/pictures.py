"""Images as pixels: the image processor that a checkpoint was trained with, batches as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

INPUT = "pixel_values"


def load_processor(folder: Path, trust_remote_code: bool = False) -> Any:
    """The image processor in a folder, as ``AutoImageProcessor`` gives it."""
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(str(folder), trust_remote_code=trust_remote_code)


def load(folder: Path, known: Mapping[str, Any]) -> Pictures:
    """That of a deployed folder, of which nothing else need be known; see ``protocols.ServedProcessor``."""
    assert not known, "images have no facts"
    return Pictures(load_processor(folder))


class Pictures:
    """An image processor, which is ``raw``."""

    def __init__(self, raw: Any) -> None:
        self.raw: Any = raw

    def known(self) -> dict[str, Any]:
        """No facts: an image processor is loaded from its own file."""
        return {}

    def problem(self, value: Any) -> str | None:
        """What is wrong with a field of an example, in words: it is the path of a picture."""
        from PIL import Image

        try:
            with Image.open(value) as opened:
                opened.verify()
        except Exception as error:  # PIL raises what it likes
            return f"is no picture: {error}"
        return None

    def pixels(self, image: Any) -> np.ndarray[Any, Any]:
        """An image of PIL, or the path of one, as float32 of shape (channels, height, width) for the model."""
        if isinstance(image, str | Path):
            from PIL import Image

            with Image.open(image) as opened:
                return self.pixels(opened)
        values = self.raw(images=in_colours(image), return_tensors="np")[INPUT][0]
        return np.asarray(values, dtype=np.float32)

    def collate(self, inputs: Sequence[Mapping[str, Any]], width: int | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Images as one array of shape (images, channels, height, width)."""
        return {INPUT: np.stack([example[INPUT] for example in inputs])}


def in_colours(image: Any) -> Any:
    """An image of 8-bit red, green and blue; Pillow's own conversion makes 16-bit greys white."""
    if not image.mode.startswith("I"):
        return image.convert("RGB")
    from PIL import Image

    greys = np.asarray(image).astype(np.int64)
    return Image.fromarray((greys >> (8 if greys.max(initial=0) > 255 else 0)).astype(np.uint8)).convert("RGB")

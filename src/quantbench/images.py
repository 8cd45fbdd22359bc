"""What image tasks share: the checkpoint's image processor, batches as arrays, inputs of an exact shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.registry import Positions

INPUT = "pixel_values"


class ImageProcessor:
    """The image processor that a checkpoint was trained with; see ``registry.Processor``."""

    AUTO_CLASS = "AutoImageProcessor"
    HAS_LENGTH = False

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        from transformers import AutoImageProcessor

        self.raw: Any = AutoImageProcessor.from_pretrained(str(folder), trust_remote_code=trust_remote_code)

    def pixels(self, image: Any) -> np.ndarray[Any, Any]:
        """An image of PIL as float32 of shape (channels, height, width), resized and normalized for the model."""
        values = self.raw(images=image.convert("RGB"), return_tensors="np")[INPUT][0]
        return np.asarray(values, dtype=np.float32)

    def max_length(self, model_config: Mapping[str, Any]) -> int | None:
        """None: images are brought to one size."""
        return None

    def collate(self, inputs: Sequence[Mapping[str, Any]], width: int | None = None) -> dict[str, Any]:
        """Images as one array of shape (images, channels, height, width)."""
        return {INPUT: np.stack([example[INPUT] for example in inputs])}

    def exact_inputs(self, batch_size: int, length: int, seed: int) -> dict[str, Any]:
        """Images of random pixels; ``length`` says nothing about images."""
        from PIL import Image

        generator = np.random.default_rng(seed)
        drawn = generator.integers(0, 256, (batch_size, 64, 64, 3), dtype=np.uint8)
        return {INPUT: np.stack([self.pixels(Image.fromarray(pixels)) for pixels in drawn])}

    def positions(self, inputs: Mapping[str, Any]) -> Positions:
        """Nothing is known of patches."""
        return Positions(0, (), [])

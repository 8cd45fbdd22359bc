"""What image tasks share: the checkpoint's image processor, batches as arrays, inputs of an exact shape."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.plugins.examples import Positions
from quantbench.served import pictures


class ImageProcessor(pictures.Pictures):
    """The image processor that a checkpoint was trained with; see ``protocols.Processor``."""

    SERVED = pictures
    HAS_LENGTH = False

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        super().__init__(pictures.load_processor(folder, trust_remote_code))

    def max_length(self, model_config: Mapping[str, Any]) -> int | None:
        """None, as images have no length: all are brought to one size."""
        return None

    def exact_inputs(self, batch_size: int, length: int, seed: int) -> dict[str, Any]:
        """Images of random pixels; ``length`` says nothing about images."""
        from PIL import Image

        generator = np.random.default_rng(seed)
        drawn = generator.integers(0, 256, (batch_size, 64, 64, 3), dtype=np.uint8)
        return {pictures.INPUT: np.stack([self.pixels(Image.fromarray(pixels)) for pixels in drawn])}

    def positions(self, inputs: Mapping[str, Any]) -> Positions:
        """No positions: patches are neither padding nor special tokens."""
        return Positions(0, (), [])

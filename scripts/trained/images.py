"""Image classification: scikit-learn's handwritten digits (8 by 8 pixels, BSD) and a small ViT trained from scratch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Pictures
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from trained.fitting import SEED, fit, label_names, save, write_splits

EPOCHS, RATE = 40, 1e-3
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEST = 500
SIZE, PATCH = 32, 8
SHADES = 16


def read() -> dict[str, Dataset]:
    """1,297 images to train on and the last 500 to test on."""
    digits: Any = load_digits()
    features = Features({"id": Value("int32"), "image": Image(), "label": ClassLabel(names=DIGITS)})
    rows = [
        {"id": number, "image": Pictures.fromarray((pixels * (255 / SHADES)).astype(np.uint8)), "label": int(label)}
        for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True))
    ]
    parts = {"train": rows[:-TEST], "test": rows[-TEST:]}
    return {name: Dataset.from_list(part, features=features) for name, part in parts.items()}


class Augmented(torch.utils.data.Dataset[dict[str, Any]]):
    """The training images, each time moved by up to an eighth of their size."""

    def __init__(self, rows: Dataset, processor: Any) -> None:
        pictures = [picture.convert("RGB") for picture in rows["image"]]
        self._pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        self._labels = list(rows["label"])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        down, right = torch.randint(-SIZE // 8, SIZE // 8 + 1, (2,)).tolist()
        return {"pixel_values": self._pixels[index].roll((down, right), (1, 2)), "labels": self._labels[index]}


def build(_corpora: Path, folder: Path) -> None:
    """Write model and data; these come with scikit-learn."""
    splits = read()
    write_splits(folder / "data", splits)
    processor = ViTImageProcessor(size={"height": SIZE, "width": SIZE})
    torch.manual_seed(SEED)
    config = ViTConfig(
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        image_size=SIZE,
        patch_size=PATCH,
        **label_names(DIGITS),
    )
    model = ViTForImageClassification(config)
    fit(model, Augmented(splits["train"], processor), None, EPOCHS, RATE, by_length=False)
    save(model, processor, folder / "model")

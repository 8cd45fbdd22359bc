"""The settings that one build is made with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings of the training run."""

    seed: int
    sections: str
    layers: int
    pieces: int
    min_count: int
    mixed_epochs: int
    focus_epochs: int
    batch: int
    rate: float
    layer_decay: float
    word_dropout: float
    average: float

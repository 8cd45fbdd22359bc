"""What a quantizer is given, what it tells of its models, and what it proposes to ``tune``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Calibration, Mode, Settings

Reads = Literal["nothing", "ranges", "statistics", "samples"]
"""What a quantizer is given of the calibration split: ranges of tensors, statistics of what products with constant
weights read, or the samples themselves."""


class NoEmbedding(Exception):
    """A model's file cannot give embeddings; the message is the reason, as a part of a sentence."""


@dataclass(frozen=True)
class Samples:
    """Calibration samples: how many, and the arrays of several, padded, of shape (samples, length)."""

    count: int
    batch: Callable[[Sequence[int]], Mapping[str, Any]]

    def sample(self, number: int) -> Mapping[str, Any]:
        """The arrays of one by its number, of shape (1, length)."""
        return self.batch([number])


@dataclass(frozen=True)
class QuantizerInputs:
    """What a model is made from.

    Attributes:
        original: the PyTorch arm of the model as it was given; its path is a checkpoint folder.
        exported: the float ONNX export, with inferred shapes.
        types: number types of activations and weights, ``uint8`` or ``int8``, as they are fast here.
        keep: names of the export's nodes that stay in float.
        ranges: lowest and highest value by float tensor, where the quantizer reads ranges.
        statistics: ``calibration.activations.TensorStatistics`` by tensor, where it reads statistics.
        samples: where it reads samples.

    """

    original: ArmSpec
    exported: Path
    types: tuple[str, str]
    keep: Sequence[str]
    ranges: Mapping[str, tuple[float, float]] | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)
    samples: Samples | None = None


class Inspection(NamedTuple):
    """What a model that was written holds: how many operators of each float type are quantized, and a hash of what it
    computes, whatever its nodes are called.
    """

    operators: dict[str, int]
    graph: str


@dataclass(frozen=True)
class Candidate:
    """What ``tune`` chooses from: a runtime and a form of int8, as settings.

    Attributes:
        name: what reports call it, and ``--only`` chooses by; begins with the runtime's.
        settings: of its first version.
        mode: what its products are computed in; None where they cannot be placed one by one.
        fallback: the mode of groups that lose too much in ``mode``.
        instead: the candidate that computes every group in the fallback mode; empty for the float export.

    """

    name: str
    settings: Settings
    mode: Mode | None = None
    fallback: Mode = "float"
    instead: str = ""

    @property
    def plain(self) -> bool:
        """Whether nothing is in int8."""
        return self.settings.quantization_approach == "none"

    def version(self, products: Collection[str]) -> Settings:
        """Settings with the named products in the fallback mode."""
        if not products:
            return self.settings
        matmuls = {_literal(name): self.fallback for name in products}
        placement = self.settings.placement.model_copy(update={"matmuls": matmuls})
        return self.settings.model_copy(update={"placement": placement})


def least_squares(calibration: Calibration) -> Calibration:
    """Ranges of least error from sentences as they are: padded ones would show what no served sentence does."""
    return calibration.model_copy(update={"method": "mse", "padding": "none", "moving_average": False})


def _literal(name: str) -> str:
    """A glob that matches exactly this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)

"""The records of a diagnosis: what breaks an int8 model, why, and what mends it."""

from __future__ import annotations

from typing import Literal

from quantbench.schema.base import Record

BITS = 8
"""Bits of an activation's number type; a cause cannot take more."""
CauseKind = Literal["constant", "padding", "special tokens", "channels", "clipped", "wide"]


class Damage(Record):
    """How far a model's predictions are from the float model's, over the sample.

    Attributes:
        changed: share of the examples whose prediction differs.
        divergence: mean Kullback-Leibler divergence of the outputs' distributions from the float model's, in nats.

    """

    changed: float
    divergence: float


class Cause(Record):
    """One reason for the range of a tensor.

    Attributes:
        kind: what sets the range. ``constant``: a huge number that the graph adds, such as an attention mask's.
            ``padding``: positions that hold padding. ``special tokens``: positions such as those of [CLS] and [SEP].
            ``channels``: a few channels that are many times larger than the median one. ``clipped``: the range is too
            narrow, values beyond it are cut off. ``wide``: none of these, real values need all of the range.
        bits: how many of 8 bits the range would need less without it; 0 for ``clipped`` and ``wide``.
        value: of the constant.
        tokens: the special tokens at the extremes.
        channels: the outlying channels, the largest first; of attention the heads, or pairs of head and channel.
        factor: how many times larger than the median channel the largest one is.
        share: for ``clipped``, the share of the rounding noise that comes from values beyond the range.

    """

    kind: CauseKind
    bits: float = 0.0
    value: float | None = None
    tokens: tuple[str, ...] = ()
    channels: tuple[tuple[int, ...], ...] = ()
    factor: float | None = None
    share: float | None = None


class Peak(Record):
    """Where the largest magnitude stands in the calibration samples that were observed.

    Attributes:
        value: the value there.
        channel: its channel; a head, or head and channel, in attention.
        token: the token at its position.
        padded: whether that position is padding.

    """

    value: float
    channel: tuple[int, ...]
    token: str
    padded: bool


class Tensor(Record):
    """One activation that the int8 model rounds.

    Attributes:
        name: as in the float export.
        maker: operator type of the node that makes it.
        readers: names of the nodes that read it rounded.
        range: what can be told apart, by scale and zero point in the file.
        needed: smallest and largest value in real, unpadded examples.
        levels: how many of the 256 numbers real values can be rounded to.
        decibels: signal-to-quantization-noise ratio (SQNR) on real examples; None where nothing is lost.
        median_decibels: that of the median channel, which a few large channels do not hide.
        alone: damage if it alone is rounded, on the smaller sample; None where that is negligible.

    """

    name: str
    maker: str
    readers: tuple[str, ...]
    range: tuple[float, float]
    needed: tuple[float, float]
    levels: int
    decibels: float | None
    median_decibels: float | None
    alone: Damage | None


class Fault(Record):
    """A tensor at fault, with its causes.

    Attributes:
        tensor: the tensor.
        alone: damage if it alone is rounded.
        spared: damage if everything else is rounded.
        again: damage if all that are at fault stay in float but this one.
        causes: what sets its range, the dominating one first.
        peak: where the extreme stands; None where the samples hold no such tensor.
        freed_by: node-exclusion groups that leave it in float.

    """

    tensor: Tensor
    alone: Damage
    spared: Damage
    again: Damage
    causes: tuple[Cause, ...]
    peak: Peak | None = None
    freed_by: tuple[str, ...] = ()


class Remedy(Record):
    """One measure taken alone, really quantized and run on the sample.

    Attributes:
        key: the dotted key of the parameter.
        value: what it is set to.
        damage: what is left.
        recovered: share of the damage that is gone, 1 where nothing is left but the weights' rounding.
        freed: number of activations that are not rounded any more.

    """

    key: str
    value: str
    damage: Damage
    recovered: float
    freed: int = 0


class Diagnosis(Record):
    """What breaks the int8 model of one run.

    Attributes:
        run: its name.
        examples: size of the sample that damage is measured on; of the smaller one that ranks the tensors.
        file: damage of the int8 file as it is.
        rounded: damage if all activations are rounded in float arithmetic, which should be as much.
        weights: damage of rounded weights alone.
        kept: damage if the tensors at fault stay in float.
        recovered: share of the damage that is gone then.
        tensors: all rounded activations, in the graph's order.
        faults: the tensors at fault, the worst first.
        remedies: what was tried, in the order of trying.
        padding: ``calibration.padding`` of the run.

    """

    run: str
    examples: tuple[int, int]
    file: Damage
    rounded: Damage
    weights: Damage
    kept: Damage
    recovered: float
    tensors: tuple[Tensor, ...]
    faults: tuple[Fault, ...]
    remedies: tuple[Remedy, ...]
    padding: str = "none"

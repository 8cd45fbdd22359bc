"""How far an int8 model's predictions are from the float model's, and which tensors are at fault for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbench.diagnose.records import Damage
from quantbench.pipeline.predict import groups
from quantbench.plugins.examples import Examples, Inputs, Prediction, Processor
from quantbench.plugins.protocols import Likelihood, Task
from quantbench.quantize.mixed import likelihood

TOKEN_BUDGET = 512
"""Most tokens of one batch of the sample, padding counted: so few that batches of a small sample are padded little."""
NEGLIGIBLE = 0.02
"""Share of the whole damage below which the damage of a tensor alone is negligible."""
LEFT_OUT = 32
"""Most of the tensors at fault that are left out on trial, one by one."""
SHARE = 0.9
"""Share of the damage that must be gone with the tensors at fault in float."""

Predict = Callable[[Inputs], list[Any]]


def evenly_spaced(available: int, wanted: int) -> list[int]:
    """Indices of ``wanted`` examples, evenly_spaced evenly."""
    return sorted({int(index) for index in np.linspace(0, available - 1, min(wanted, available)).round()})


@dataclass(frozen=True)
class Batch:
    """Examples that are run together: their indices, their lengths, and their inputs padded to the longest."""

    indices: list[int]
    lengths: list[int]
    inputs: dict[str, Any]


class Meter:
    """Measures damage on a sample of examples.

    Attributes:
        task: decodes outputs.
        examples: the sample.
        batches: the sample in batches as in evaluation; see :func:`quantbench.pipeline.predict.groups`.

    """

    def __init__(
        self,
        task: Task,
        examples: Examples,
        processor: Processor,
        kind: Likelihood,
        reference: Predict,
        batch_size: int | None = None,
    ) -> None:
        self.task, self.examples, self._kind = task, examples, kind
        costs = examples.costs
        self.batches = [
            Batch(group, [costs[i] for i in group], processor.collate([examples.inputs[i] for i in group]))
            for group in groups(costs, batch_size, TOKEN_BUDGET)
        ]
        self._outputs = [reference(batch.inputs) for batch in self.batches]
        self._positional = self._with_positions()
        self._expected = [
            self._real(batch, outputs) for batch, outputs in zip(self.batches, self._outputs, strict=True)
        ]
        self._original = self._predictions(self._outputs)

    def measure(self, predict: Predict) -> Damage:
        """The damage of a model that gives the outputs of a batch."""
        divergence = 0.0
        outputs = [predict(batch.inputs) for batch in self.batches]
        scores = self.task.score(self.examples, self._predictions(outputs), self._original)
        for batch, expected, given in zip(self.batches, self._expected, outputs, strict=True):
            found = self._real(batch, given)
            divergence += sum(
                likelihood.divergence(self._kind, p, q)
                for a, b in zip(expected, found, strict=True)
                for p, q in zip(a, b, strict=True)
            )
        return Damage(changed=scores.changed / scores.examples, divergence=divergence / len(self.examples.inputs))

    def _with_positions(self) -> list[bool]:
        """For each output, whether its second axis is the tokens."""
        return [
            all(
                "input_ids" in batch.inputs
                and outputs[index].ndim > 1
                and outputs[index].shape[1] == len(batch.inputs["input_ids"][0])
                for batch, outputs in zip(self.batches, self._outputs, strict=True)
            )
            for index in range(len(self._outputs[0]))
        ]

    def _predictions(self, outputs: Sequence[Sequence[Any]]) -> list[Prediction]:
        """What the outputs of all batches say, in the order of the examples' inputs."""
        found = {
            index: self.task.decode(arrays, row, self.examples, index)
            for batch, arrays in zip(self.batches, outputs, strict=True)
            for row, index in enumerate(batch.indices)
        }
        return [found[index] for index in range(len(found))]

    def _real(self, batch: Batch, outputs: Sequence[Any]) -> list[list[Any]]:
        """The outputs of each input without its padding."""
        return [
            [
                array[row][:length] if positional else array[row]
                for array, positional in zip(outputs, self._positional, strict=True)
            ]
            for row, length in enumerate(batch.lengths)
        ]


def recovered(whole: Damage, floor: Damage, left: Damage) -> float:
    """Share of the damage that is gone, as divergence; 1 where only ``floor`` is left, below 0 where it got worse.

    The divergence decides rather than the share of changed predictions, since it grows steadily with what is lost: a
    prediction that changed is none the worse for another tensor that is destroyed too.
    """
    possible = whole.divergence - floor.divergence
    return (whole.divergence - left.divergence) / possible if possible > 0 else 0.0


def single_out(names: Sequence[str], negligible: Callable[[Sequence[str]], bool]) -> list[str]:
    """The tensors that do damage alone that is not negligible, in their order.

    Groups are halved as long as rounding a whole group does damage, which takes few measurements where few tensors are
    to blame. A tensor that is not returned belongs to a group whose damage was negligible.
    """
    if not names or negligible(names):
        return []
    if len(names) == 1:
        return list(names)
    half = len(names) // 2
    return single_out(names[:half], negligible) + single_out(names[half:], negligible)


def find_faults(ranked: Sequence[str], enough: Callable[[Sequence[str]], bool]) -> list[str]:
    """A small set of tensors whose restoring is enough, none of which can be left out.

    Args:
        ranked: all tensors, the most damaging first.
        enough: whether leaving these in float is enough; true for all of them.

    Returns:
        The shortest beginning of ``ranked`` that is enough, found by halving. Its members are then left out one by
        one, the least damaging first, and stay out where the others are still enough; only the last ``LEFT_OUT`` are
        tried.

    """
    low, high = 0, 1
    while high < len(ranked) and not enough(ranked[:high]):
        low, high = high, min(2 * high, len(ranked))
    while high - low > 1:
        middle = (low + high) // 2
        if enough(ranked[:middle]):
            high = middle
        else:
            low = middle
    kept = list(ranked[:high])
    for name in kept[: -LEFT_OUT - 1 : -1]:
        without = [other for other in kept if other != name]
        if without and enough(without):
            kept = without
    return kept

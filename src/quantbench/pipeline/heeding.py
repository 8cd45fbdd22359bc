"""Whether a model heeds its mask: what it says of a text must not depend on the padding behind it.

Scores tell little of that where texts of a batch are about as long, and a tagger's labels survive much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbench.plugins.examples import Examples, Inputs, Processor
from quantbench.served.tokens import Tokens

TEXTS = 4
PADDED = 4
"""How many times as long as itself a text is padded."""


@dataclass(frozen=True)
class Padding:
    """Some texts alone and padded.

    Attributes:
        alone: batches of one.
        together: one batch, padded much.
        costs: tokens of each.
        width: of the padded batch.
        left: whether padding stands before a text's tokens.

    """

    alone: Sequence[Inputs]
    together: Inputs
    costs: Sequence[int]
    width: int
    left: bool


def padding(examples: Examples, processor: Processor, config: Mapping[str, Any]) -> Padding:
    """Texts of middling length, padded as far as the model takes."""
    order = sorted(range(len(examples.costs)), key=lambda index: examples.costs[index])
    chosen = order[len(order) // 2 :][:TEXTS]
    inputs, costs = [examples.inputs[index] for index in chosen], [examples.costs[index] for index in chosen]
    width = max(*costs, min(PADDED * max(costs), processor.max_length(config) or PADDED * max(costs)))
    left = isinstance(processor, Tokens) and processor.facts.padding_left
    return Padding([processor.collate([item]) for item in inputs], processor.collate(inputs, width), costs, width, left)


def moved(predict: Callable[[Inputs], Sequence[Any]], texts: Padding, long: Sequence[bool]) -> float:
    """How far padding moves outputs, as a share of their spread; no number where they are none.

    Args:
        predict: gives the outputs of a batch, those that count first.
        texts: see there.
        long: whether the second axis of each output that counts is the tokens.

    """
    together = predict(texts.together)
    pairs = []
    for row, (batch, cost) in enumerate(zip(texts.alone, texts.costs, strict=True)):
        for alone, padded, tokens in zip(predict(batch), together, long, strict=False):
            real = padded[row]
            if tokens:
                real = real[len(real) - cost :] if texts.left else real[:cost]
            pairs.append((np.ravel(alone[0]), np.ravel(real)))
    first, second = (np.concatenate(part).astype(np.float64) for part in zip(*pairs, strict=True))
    spread = max(float(np.linalg.norm(first - first.mean())), float(np.finfo(np.float32).tiny))
    return float(np.linalg.norm(second - first)) / spread

"""Predictions over a data set, in the batches that a model is scored in, put back in order.

Most models answer an example alike in any batch, so examples are sorted by length and batched under a token budget.
Where int8 finds ranges at run time, one range holds for a whole batch, padding included, and the answer depends on what
else is in it: such a model is scored in batches of a size that it is timed at, as a server would fill them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbench.errors import RunFailed
from quantbench.plugins import registry
from quantbench.plugins.examples import Examples, Prediction, Processor
from quantbench.plugins.protocols import Session, Task
from quantbench.schema.reporter import Advance
from quantbench.schema.settings import DATASET, Settings
from quantbench.served.batches import TOKEN_BUDGET, batches, groups

__all__ = ("TOKEN_BUDGET", "batches", "groups", "needs_examples", "predict", "scored_batch_size")


def needs_examples(settings: Settings) -> bool:
    """Whether a run reads the evaluation split: to score it, or to time batches of it.

    Inputs without a length, as images, are timed as they stand in the data.
    """
    of_the_data = DATASET in settings.input_lengths or not registry.task(settings.task).PROCESSOR.HAS_LENGTH
    return settings.is_evaluated or (settings.is_timed and of_the_data)


def scored_batch_size(settings: Settings) -> int | None:
    """Examples in one batch in which the optimized model of these settings is scored.

    The smallest of ``batch_sizes``, or 1 where nothing is timed, if some product has dynamic activations; None for all
    other models, and for every original and float export: sorted batches, see :func:`batches`.
    """
    return min(settings.batch_sizes, default=1) if settings.has_dynamic_products else None


def predict(
    session: Session,
    task: Task,
    examples: Examples,
    processor: Processor,
    advance: Advance,
    batch_size: int | None = None,
) -> list[Prediction]:
    """Predictions for all inputs of the examples, in their order.

    Args:
        session: a loaded model.
        task: decodes a batch's outputs.
        examples: the prepared examples.
        processor: makes batches of their inputs.
        advance: told the number of examples after each batch.
        batch_size: see :func:`scored_batch_size`.

    Raises:
        RunFailed: if an output is not a number, which would be decoded as if it were an answer.

    """
    predictions: dict[int, Prediction] = {}
    for group in groups(examples.costs, batch_size):
        outputs = session.predict(processor.collate([examples.inputs[index] for index in group]))
        for row, index in enumerate(group):
            _check_numbers(outputs, row, examples.costs[index])
            predictions[index] = task.decode(outputs, row, examples, index)
        advance(len(group))
    return [predictions[index] for index in range(len(predictions))]


def _check_numbers(outputs: Sequence[Any], row: int, cost: int) -> None:
    """Hold that an input's outputs are numbers; what stands behind its own tokens is padding and says nothing."""
    for output in outputs:
        values = np.asarray(output[row])
        real = values[:cost] if values.ndim > 1 else values
        if np.isnan(real).any():
            raise RunFailed("the model answers NaN, which is no number, where it is scored; something overflows")

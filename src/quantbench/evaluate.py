"""Predictions over a data set, in batches sorted by length under a token budget, put back in order."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.registry import Advance, Examples, Prediction, Processor, Session, Task

TOKEN_BUDGET = 2048
"""Most tokens, padding counted, in one evaluation batch. Part of a prediction cache's key: batches must be equal for
what is compared, since dynamic quantization takes one scale per tensor of a batch."""


def batches(lengths: Sequence[int], token_budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Group examples of similar length.

    Args:
        lengths: tokens of each example.
        token_budget: most tokens in a batch with padding; a longer example gets a batch of its own.

    Returns:
        Lists of indices, every index once, shortest examples first.

    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    groups: list[list[int]] = []
    for index in order:
        if groups and (len(groups[-1]) + 1) * lengths[index] <= token_budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def predict(
    session: Session,
    task: Task,
    examples: Examples,
    processor: Processor,
    advance: Advance,
    token_budget: int = TOKEN_BUDGET,
) -> list[Prediction]:
    """Predictions for all inputs of the examples, in their order.

    Args:
        session: a loaded model.
        task: decodes a batch's outputs.
        examples: the prepared examples.
        processor: makes batches of their inputs.
        advance: told the number of examples after each batch.
        token_budget: see :func:`batches`; 1 evaluates one example at a time.

    """
    predictions: dict[int, Prediction] = {}
    for group in batches(examples.costs, token_budget):
        outputs = session.predict(processor.collate([examples.inputs[index] for index in group]))
        for row, index in enumerate(group):
            predictions[index] = task.decode(outputs, row, examples, index)
        advance(len(group))
    return [predictions[index] for index in range(len(predictions))]

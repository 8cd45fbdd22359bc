"""Which examples share a batch, when a model is scored and when it answers a file.

Most models answer an example alike in any batch, so examples are sorted by length and batched under a token budget.
Where int8 finds ranges at run time, one range holds for a whole batch, padding included, and the answer depends on what
else is in it: such a model is scored in batches of a size that it is timed at, as a server would fill them.
"""

from __future__ import annotations

from collections.abc import Sequence

TOKEN_BUDGET = 2048
"""Most tokens, padding counted, in one evaluation batch where the answers do not depend on it."""


def groups(costs: Sequence[int], batch_size: int | None = None, token_budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Indices of the examples of each batch: ``batch_size`` consecutive ones, or :func:`batches` where it is None."""
    if batch_size is None:
        return batches(costs, token_budget)
    return [list(range(start, min(start + batch_size, len(costs)))) for start in range(0, len(costs), batch_size)]


def batches(lengths: Sequence[int], token_budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Group examples of similar length.

    Args:
        lengths: tokens of each example.
        token_budget: most tokens in a batch with padding; a longer example gets a batch of its own.

    Returns:
        Lists of indices, every index once, shortest examples first.

    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    found: list[list[int]] = []
    for index in order:
        if found and (len(found[-1]) + 1) * lengths[index] <= token_budget:
            found[-1].append(index)
        else:
            found.append([index])
    return found

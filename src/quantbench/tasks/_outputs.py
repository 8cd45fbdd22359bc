"""What the outputs of a classifier are taken for, and what the model's ``config.json`` says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PROBLEM_TYPES = {
    "single_label_classification": (),
    "multi_label_classification": ("is_multi_label",),
    "regression": ("is_regression",),
}
"""What ``problem_type`` of transformers' configurations stands for among the options of a task."""


def mistakes(
    config: Mapping[str, Any], asked: Sequence[str] = (), offered: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Mistakes as (dotted key, message), given which of the options above are ``asked`` for, and which there are."""
    labels = list((config.get("id2label") or {}).values())
    if len(labels) == 1 and not asked:
        message = f"the model has one output ({labels[0]}), and one class is no classification; "
        hint = "if it gives a number, such as a score of relevance, set task_args.is_regression: true"
        return [
            ("task_args", message + (hint if "is_regression" in offered else "give a model with two classes or more"))
        ]
    kind = config.get("problem_type")
    meant = PROBLEM_TYPES.get(str(kind))
    if meant is None or tuple(asked) == meant or not set(meant) <= set(offered):
        return []
    wanted = f"set task_args.{meant[0]}: true" if meant else f"leave out task_args.{asked[0]}"
    return [("task_args", f"the model's config.json says problem_type: {kind}; {wanted}, or mend it there")]

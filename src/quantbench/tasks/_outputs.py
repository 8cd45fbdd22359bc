"""What the outputs of a classifier are taken for, and what the model's ``config.json`` says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantbench.schema.settings import TaskArgs

KINDS = ("is_regression", "is_multi_label")
PROBLEM_TYPES = {
    "single_label_classification": (),
    "multi_label_classification": ("is_multi_label",),
    "regression": ("is_regression",),
}
"""What ``problem_type`` of transformers' configurations stands for among the options of a task."""


def mistakes(config: Mapping[str, Any], args: TaskArgs) -> list[tuple[str, str]]:
    """Mistakes as (dotted key, message), given the options of the task, which may have those above or not."""
    offered = [name for name in KINDS if name in type(args).model_fields]
    asked = tuple(name for name in offered if getattr(args, name))
    labels = list((config.get("id2label") or {}).values())
    if len(labels) == 1 and not asked:
        message = f"the model has one output ({labels[0]}), and one class is no classification; "
        hint = "if it gives a number, such as a score of relevance, set task_args.is_regression: true"
        other = "give a model with two classes or more"
        return [("task_args", message + (hint if "is_regression" in offered else other))]
    kind = config.get("problem_type")
    meant = PROBLEM_TYPES.get(str(kind))
    if meant is None or asked == meant or not set(meant) <= set(offered):
        return []
    wanted = f"set task_args.{meant[0]}: true" if meant else f"leave out task_args.{asked[0]}"
    return [("task_args", f"the model's config.json says problem_type: {kind}; {wanted}, or mend it there")]

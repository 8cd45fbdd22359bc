"""Settings as earlier versions wrote them, whose results are still there to be found.

Every settings record once held the options of every task and of every runtime, whichever it named, and the key of a run
is the hash of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from quantbench.plugins.options import completed
from quantbench.schema.settings import AwareTrainingArgs, Pruning, Settings

FORMER: Mapping[str, Mapping[str, JsonValue]] = {
    "task_args": {
        "is_regression": False,
        "is_multi_label": False,
        "max_seq_len": None,
        "doc_stride": None,
        "max_answer_len": 15,
        "handle_impossible": False,
        "pooling": None,
    },
    "framework_args": {
        "opset": 17,
        "optimization_level": 99,
        "session_options": {
            "allow_spinning": True,
            "dynamic_block_base": 0,
            "denormal_as_zero": False,
            "enable_cpu_mem_arena": True,
            "enable_mem_pattern": True,
            "disable_prepacking": False,
        },
        "precision": "float32",
        "preset": "mixed",
        "smooth_quant_alpha": None,
    },
}
"""The options that all settings held, in their order, with the defaults that they had.

It stays as it is, whatever becomes of these options in their plug-ins: an option that is added, or a default that
changes, makes other keys only for plug-ins that have it.
"""
FORMER_LAUNCHES = 1
ADDED: Mapping[str, JsonValue] = {
    "pruning": Pruning().model_dump(mode="json"),
    "positions": "all",
    "embedding_tables": "float32",
    "aware_training_args": AwareTrainingArgs().model_dump(mode="json"),
}
"""Parameters that came later, and their defaults."""
FORMER_DEFAULTS: Mapping[str, JsonValue] = {"task_args.pooling": "mean"}
"""Defaults of still earlier versions, spelled out in the ``config.yaml`` of their folders."""


def spelled_out(settings: Settings) -> dict[str, Any]:
    """Settings as JSON, with every option of ``FORMER``: equal for equal settings, whichever version wrote them."""
    data = as_before(completed(settings).model_dump(mode="json"))
    return {**data, **{key: {**options, **data[key]} for key, options in FORMER.items()}}


def as_before(data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON with the number of launches that earlier versions wrote where none was set, and without what
    came later and is at its default.
    """
    timing = data["time_benchmark_args"]
    launches = timing["launches"] or FORMER_LAUNCHES
    left = {name: value for name, value in data.items() if name not in ADDED or ADDED[name] != value}
    return {**left, "time_benchmark_args": {**timing, "launches": launches}}


def in_order(data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON, options in the order of ``FORMER``, then others."""
    ordered = {
        key: {**{name: data[key][name] for name in options if name in data[key]}, **data[key]}
        for key, options in FORMER.items()
    }
    return {**data, **ordered}

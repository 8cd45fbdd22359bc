"""What the tasks of embeddings share: how an embedding is made of tokens, and the prompt before a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import JsonValue

from quantbench.served.modules import SENTENCE, TOKENS
from quantbench.sources import sentence_transformers
from quantbench.sources.hub import mistake

Pooling = Literal["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


FIRST_TOKEN = ("dpr",)
"""Model types whose own vectors are those of the first token."""


def steps(
    pooling: Pooling | None, declared: sentence_transformers.Declared | None, model_config: Mapping[str, Any]
) -> list[JsonValue]:
    """The modules that make an embedding, see ``served.modules``.

    Args:
        pooling: as it was asked for; by default what the folder says, else what models of its type do, else the mean.
        declared: what the model's folder says, if it is of sentence-transformers.
        model_config: the model's configuration.

    Raises:
        BadInput: at ``task_args.pooling``, if the folder says another.

    """
    if declared is None:
        usual = "cls" if model_config.get("model_type") in FIRST_TOKEN else "mean"
        made: list[dict[str, JsonValue]] = [
            {"kind": "Pooling", "reads": TOKENS, "modes": [pooling or usual], "include_prompt": True},
            {"kind": "Normalize", "reads": SENTENCE},
        ]
        return [{**step, "writes": SENTENCE} for step in made]
    if pooling and [[pooling]] != declared.poolings:
        told = " and ".join(mode for modes in declared.poolings for mode in modes)
        message = f"task_args.pooling is {pooling}, the model's own folder says {told}; remove it"
        raise mistake("task_args.pooling", message)
    return [dict(step) for step in declared.steps]


def prompt(option: str, asked: str, declared: sentence_transformers.Declared | None) -> str:
    """The prompt that the value of an option of ``task_args`` stands for: the name of one of the folder's, or a text.

    Raises:
        BadInput: at the option, if it is a name that the folder does not have.

    """
    prompts = declared.prompts if declared else {}
    found = sentence_transformers.choose(asked, prompts)
    if found is None:
        known = ", ".join(sentence_transformers.names(prompts))
        has = f"has the prompts {known}" if known else "has no prompts"
        message = f"task_args.{option} is {asked!r}, but the model's folder {has}; write one of its names, or a text"
        raise mistake(f"task_args.{option}", f"{message} that ends in a blank or sign, such as '{asked}: '")
    return found

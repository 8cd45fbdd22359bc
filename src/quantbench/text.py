"""What the text tasks share: tokenizers, maximum length, batches as arrays, inputs of an exact shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NO_LIMIT = 1_000_000
POSITION_OFFSET_TYPES = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "roberta-prelayernorm")
"""Model types whose position embeddings start behind the padding index."""


def load_tokenizer(folder: Path, trust_remote_code: bool = False) -> Any:
    """The fast tokenizer of a model folder; word alignment needs a fast one."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)


def max_length(model_config: Mapping[str, Any], tokenizer: Any = None) -> int | None:
    """Longest input in tokens that model and tokenizer take, None where neither names a limit."""
    limits = []
    positions = model_config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        offset = 0
        if model_config.get("model_type") in POSITION_OFFSET_TYPES:
            offset = int(model_config.get("pad_token_id") or 0) + 1
        limits.append(positions - offset)
    if tokenizer is not None and tokenizer.model_max_length < NO_LIMIT:
        limits.append(int(tokenizer.model_max_length))
    return min(limits) if limits else None


def pad_values(tokenizer: Any) -> dict[str, int]:
    """What fills each input of a batch behind a shorter example's end."""
    values = dict.fromkeys(tokenizer.model_input_names, 0)
    values["input_ids"] = int(tokenizer.pad_token_id or 0)
    return values


def collate(
    inputs: Sequence[Mapping[str, Sequence[int]]], fill: Mapping[str, int], length: int | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Pad examples on the right into arrays.

    Args:
        inputs: one mapping from input name to token values per example.
        fill: padding value per input name.
        length: width of the arrays; the longest example's where None.

    Returns:
        int64 arrays of shape (examples, width) by input name.

    """
    width = length or max(len(example["input_ids"]) for example in inputs)
    batch = {}
    for name in inputs[0]:
        array = np.full((len(inputs), width), fill.get(name, 0), dtype=np.int64)
        for row, example in enumerate(inputs):
            values = example[name]
            array[row, : len(values)] = values
        batch[name] = array
    return batch


def exact_inputs(tokenizer: Any, batch_size: int, length: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs of an exact shape without padding: random ordinary tokens, special tokens at both ends where there are.

    Returns:
        int64 arrays of shape (batch_size, length) by input name; all of the attention mask is 1.

    """
    generator = np.random.default_rng(seed)
    special = set(tokenizer.all_special_ids)
    ordinary = np.array([i for i in range(len(tokenizer)) if i not in special], dtype=np.int64)
    ids = generator.choice(ordinary, size=(batch_size, length))
    first = next((i for i in (tokenizer.cls_token_id, tokenizer.bos_token_id) if i is not None), None)
    last = next((i for i in (tokenizer.sep_token_id, tokenizer.eos_token_id) if i is not None), None)
    if first is not None:
        ids[:, 0] = first
    if last is not None and length > 1:
        ids[:, -1] = last
    batch = {"input_ids": ids}
    for name in tokenizer.model_input_names:
        if name != "input_ids":
            batch[name] = np.full((batch_size, length), int(name == "attention_mask"), dtype=np.int64)
    return batch

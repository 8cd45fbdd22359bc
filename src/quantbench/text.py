"""What the text tasks share: the tokenizer, batches as arrays, inputs of an exact shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.registry import Positions

NO_LIMIT = 1_000_000
POSITION_OFFSET_TYPES = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "roberta-prelayernorm")
"""Model types whose position embeddings start behind the padding index."""


class TextProcessor:
    """A fast tokenizer, which knows the words of tokens; see ``registry.Processor``.

    Raises:
        ValueError: if the model's tokenizer is not a fast one.

    """

    AUTO_CLASS = "AutoTokenizer"
    HAS_LENGTH = True

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        from transformers import AutoTokenizer

        self.raw: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
        if not getattr(self.raw, "is_fast", False):
            raise ValueError("it has no fast tokenizer (tokenizer.json), which is needed")

    def max_length(self, model_config: Mapping[str, Any]) -> int | None:
        """Longest input in tokens that model and tokenizer take, None where neither names a limit."""
        limits = []
        positions = model_config.get("max_position_embeddings")
        if isinstance(positions, int) and positions > 0:
            offset = 0
            if model_config.get("model_type") in POSITION_OFFSET_TYPES:
                offset = int(model_config.get("pad_token_id") or 0) + 1
            limits.append(positions - offset)
        if self.raw.model_max_length < NO_LIMIT:
            limits.append(int(self.raw.model_max_length))
        return min(limits) if limits else None

    def collate(
        self, inputs: Sequence[Mapping[str, Sequence[int]]], width: int | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Pad examples on the right into int64 arrays of shape (examples, width) by input name.

        Args:
            inputs: one mapping from input name to token values per example.
            width: of the arrays; the longest example's where None.

        """
        fill = {"input_ids": int(self.raw.pad_token_id or 0)}
        width = width or max(len(example["input_ids"]) for example in inputs)
        batch = {}
        for name in inputs[0]:
            array = np.full((len(inputs), width), fill.get(name, 0), dtype=np.int64)
            for row, example in enumerate(inputs):
                values = example[name]
                array[row, : len(values)] = values
            batch[name] = array
        return batch

    def exact_inputs(self, batch_size: int, length: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
        """Random ordinary tokens without padding, special tokens at both ends where there are.

        Returns:
            int64 arrays of shape (batch_size, length) by input name; all of the attention mask is 1.

        """
        tokenizer, generator = self.raw, np.random.default_rng(seed)
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

    def positions(self, inputs: Mapping[str, Any]) -> Positions:
        """Tokens of a batch of one input, those before its padding, and which of them are special."""
        ids = [int(number) for number in inputs["input_ids"][0]]
        mask = inputs.get("attention_mask")
        return Positions(
            length=len(ids) if mask is None else int(np.asarray(mask)[0].sum()),
            tokens=tuple(self.raw.convert_ids_to_tokens(ids)),
            special=np.isin(ids, list(self.raw.all_special_ids)).tolist(),
        )

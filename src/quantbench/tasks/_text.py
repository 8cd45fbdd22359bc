"""What the text tasks share: the tokenizer, batches as arrays, inputs of an exact shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.plugins.examples import Input, Positions
from quantbench.served import queries, sentences, tokens
from quantbench.served.protocols import ServedProcessor
from quantbench.sources import sentence_transformers

PLACES = {
    "max_2d_position_embeddings": "their places on a page (bbox)",
    "max_xpath_tag_unit_embeddings": "their places in a page's markup (xpath_tags_seq)",
}
"""Inputs beside the text that a model may be made for, by a key that only its configuration has."""
UNKNOWN = 0.2
"""Share of unknown tokens from which a reader of the scores is told."""


class TextProcessor(tokens.Tokens):
    """A fast tokenizer, which knows the words of tokens; see ``protocols.Processor``.

    Raises:
        ValueError: if the model's tokenizer is not a fast one.

    """

    SERVED: ServedProcessor = tokens
    HAS_LENGTH = True
    WORDS = False
    """Whether texts are given as lists of words."""

    def __init__(self, folder: Path, trust_remote_code: bool = False, limit: int | None = None) -> None:
        from transformers import AutoConfig

        raw = tokens.load_tokenizer(folder, self.WORDS, trust_remote_code)
        raw.model_max_length = limit or raw.model_max_length
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code).to_dict()
        super().__init__(raw, tokens.facts(config, raw, self.WORDS))
        unnamed = config.get("pad_token_id") is None and getattr(raw, "pad_token_id", None) is None
        padding = raw.convert_ids_to_tokens(self.facts.padding_id)
        self.notes = (
            *((f"Neither model nor tokenizer names a token to pad with; {padding!r} is used",) if unnamed else ()),
            *(
                f"The model is made for words with {what}, which are not given: all stand at the same one"
                for key, what in PLACES.items()
                if key in config
            ),
        )

    def doubts(self, inputs: Sequence[Input]) -> tuple[str, ...]:
        """The note on inputs of which the tokenizer knows little; empty where it knows enough."""
        unknown, special = getattr(self.raw, "unk_token_id", None), set(self.raw.all_special_ids)
        if unknown is None:
            return ()
        words = [token for item in inputs for token in item["input_ids"] if token == unknown or token not in special]
        share = words.count(unknown) / max(1, len(words))
        if share <= UNKNOWN:
            return ()
        told = f"{100 * share:.0f} % of the evaluation set's tokens are unknown to the tokenizer"
        return (f"{told}: see whether it is the one that the model was trained with",)

    def max_length(self, model_config: Mapping[str, Any]) -> int | None:
        """Longest input in tokens that model and tokenizer take, None where neither names a limit."""
        return self.facts.limit

    def exact_inputs(self, batch_size: int, length: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
        """Random ordinary tokens without padding, special tokens at both ends where there are.

        Only tokens are drawn that the model has an embedding of.

        Returns:
            int64 arrays of shape (batch_size, length) by input name; all of the attention mask is 1.

        """
        tokenizer, generator = self.raw, np.random.default_rng(seed)
        rows = self.facts.rows or len(tokenizer)
        special = {*tokenizer.all_special_ids, self.facts.padding_id}
        ordinary = np.array([i for i in range(min(len(tokenizer), rows)) if i not in special], dtype=np.int64)
        ids = generator.choice(ordinary, size=(batch_size, length))
        first = _first(rows, tokenizer.cls_token_id, tokenizer.bos_token_id)
        last = _first(rows, tokenizer.sep_token_id, tokenizer.eos_token_id)
        if first is not None:
            ids[:, 0] = first
        if last is not None and last != self.facts.padding_id and length > 1:
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


class WordProcessor(TextProcessor):
    """A tokenizer for texts that are given as lists of words."""

    WORDS = True


class EmbeddingProcessor(TextProcessor, sentences.Sentences):
    """A tokenizer for texts of which embeddings are made; ``declared`` is what sentence-transformers would do."""

    SERVED: ServedProcessor = sentences

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        self.declared = sentence_transformers.read(folder)
        super().__init__(folder, trust_remote_code, self.declared.limit if self.declared else None)
        self.place(folder, self.declared is not None and self.declared.lower)


class SearchProcessor(EmbeddingProcessor):
    """A tokenizer for queries and passages of which embeddings are made."""

    SERVED: ServedProcessor = queries


class PairProcessor(TextProcessor):
    """A tokenizer for pairs of a query and a passage."""

    SERVED: ServedProcessor = queries

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        super().__init__(folder, trust_remote_code, sentence_transformers.limit_of_pairs(folder))


def _first(rows: int, *ids: int | None) -> int | None:
    """The first of some tokens that there is and that has an embedding."""
    return next((number for number in ids if number is not None and number < rows), None)

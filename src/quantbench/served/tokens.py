"""Texts as tokens: the tokenizer with what the model wants of it, batches as arrays.

Everything that scoring, calibration, timing and serving must do alike is a fact that is found once, from the model's
configuration and its tokenizer (:func:`facts`), and is written down beside a deployed model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Input = Mapping[str, Sequence[int]]
NO_LIMIT = 1_000_000
"""``model_max_length`` from which on a tokenizer names no limit (transformers writes 1e30)."""
OFFSET_TYPES = (
    "altclip",
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
"""Model types whose position embeddings begin behind the padding's (transformers 5.23)."""
RELATIVE_TYPES = ("t5", "mt5", "umt5", "longt5")
"""Model types whose configuration counts positions that limit nothing, since they have relative ones."""
LEFT_TYPES = ("xlnet",)
"""Model types whose classifiers read the last position, so that padding stands on the left. It may stand on the right
for all others: positions count from the left, and causal ones look up the last token that is no padding."""
CLASSIFIER = "ForSequenceClassification"
WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Facts:
    """What a model wants of its tokenizer.

    Attributes:
        limit: longest input in tokens, those that are special counted; None where there is no limit.
        padding_id: token that fills up shorter inputs.
        padding_left: whether it stands before them.
        rows: of the table of embeddings, so that every token must be less; None where it is not known.
        words: whether texts are given as lists of words.

    """

    limit: int | None
    padding_id: int
    padding_left: bool = False
    rows: int | None = None
    words: bool = False


def load_tokenizer(folder: Path, words: bool, trust_remote_code: bool = False) -> Any:
    """The fast tokenizer in a folder, as ``AutoTokenizer`` gives it.

    For lists of words a byte-level one is set to begin each as it would stand in a text, with a blank before it. What
    is saved of it says so too.

    Raises:
        ValueError: if it is not a fast one, or knows no token but special ones, as one that is not there.

    """
    from transformers import AutoTokenizer

    raw = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    if not getattr(raw, "is_fast", False):
        raise ValueError("it has no fast tokenizer (tokenizer.json), which is needed")
    if set(raw.get_vocab().values()) <= set(raw.all_special_ids):
        raise ValueError("it has no tokenizer; save that of the training there: tokenizer.save_pretrained(FOLDER)")
    if words and _is_byte_level(raw) and hasattr(raw.backend_tokenizer.pre_tokenizer, "add_prefix_space"):
        again = {"trust_remote_code": trust_remote_code, "add_prefix_space": True}
        raw = AutoTokenizer.from_pretrained(str(folder), **again)
        raw.backend_tokenizer.pre_tokenizer.add_prefix_space = True
    return raw


def _is_byte_level(raw: Any) -> bool:
    """Whether words begin with a marked blank in the middle of a text, as in GPT-2's vocabulary."""
    return "ByteLevel" in str(raw.backend_tokenizer.pre_tokenizer or "")


def padding_id(config: Mapping[str, Any], raw: Any = None) -> int:
    """The token to pad with: the configuration's, by which models find the end of a text, or that for the end.

    Args:
        config: the model's full configuration.
        raw: its tokenizer, which is asked where the configuration names neither; 0 if it does not either.

    """
    asked = [config.get("pad_token_id"), config.get("eos_token_id")]
    asked += [getattr(raw, "pad_token_id", None), getattr(raw, "eos_token_id", None), 0]
    first = (value[0] if isinstance(value, list | tuple) and value else value for value in asked)
    rows = config.get("vocab_size") or NO_LIMIT
    return next(value for value in first if isinstance(value, int) and 0 <= value < rows)


def longest(config: Mapping[str, Any], raw: Any) -> int | None:
    """Longest input in tokens that model and tokenizer take, None where neither names a limit."""
    limits = []
    kind = config.get("model_type")
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    rotary = kind == "esm" and config.get("position_embedding_type") == "rotary"
    if isinstance(positions, int) and positions > 0 and kind not in RELATIVE_TYPES and not rotary:
        offset = int(config.get("pad_token_id") or 0) + 1 if kind in OFFSET_TYPES else 0
        limits.append(positions - offset)
    if raw.model_max_length < NO_LIMIT:
        limits.append(int(raw.model_max_length))
    return min(limits) if limits else None


def facts(config: Mapping[str, Any], raw: Any, words: bool = False) -> Facts:
    """What a model of a full configuration wants of its tokenizer."""
    rows = config.get("vocab_size")
    return Facts(
        limit=longest(config, raw),
        padding_id=padding_id(config, raw),
        padding_left=config.get("model_type") in LEFT_TYPES and _classifies(config),
        rows=rows if isinstance(rows, int) and rows > 0 else None,
        words=words,
    )


def _classifies(config: Mapping[str, Any]) -> bool:
    return any(str(name).endswith(CLASSIFIER) for name in config.get("architectures") or ())


def split(text: str) -> list[str]:
    """The words of a free text, for models that were trained on lists of them: runs of letters, and single signs."""
    return WORD.findall(text)


def costs(inputs: Sequence[Mapping[str, Any]]) -> list[int]:
    """Tokens of each input."""
    return [len(given["input_ids"]) for given in inputs]


def load(folder: Path, known: Mapping[str, Any]) -> Tokens:
    """The tokenizer of a deployed folder, with the facts that were written down; see ``protocols.ServedProcessor``."""
    found = Facts(**known)
    return Tokens(load_tokenizer(folder, found.words), found)


class Tokens:
    """A tokenizer, which is ``raw``, and what the model wants of it."""

    def __init__(self, raw: Any, known: Facts) -> None:
        self.raw: Any = raw
        self.facts = known
        self._blank = known.words and _is_byte_level(raw)

    def known(self) -> dict[str, Any]:
        """The facts, for :func:`load`."""
        return asdict(self.facts)

    def encode(
        self, texts: Sequence[Any], others: Sequence[Any] | None = None, limit: int | None = None, **options: Any
    ) -> Any:
        """Tokens of texts, of lists of words or of pairs of texts, cut off behind ``limit``.

        Args:
            texts: strings, or lists of words where ``facts.words`` is set.
            others: the second text of each pair.
            limit: tokens of one input; the model's own where it is None.
            options: of the tokenizer's call.

        Raises:
            ValueError: if a text has a token that the model has no embedding of, or none at all.

        """
        limit = limit or self.facts.limit
        given: list[list[Any]] = [list(texts), *([list(others)] if others is not None else [])]
        if self.facts.words:
            given = [[self._words(words) for words in part] for part in given]
            options = {"is_split_into_words": True, **options}
        known = {"truncation": limit is not None, "max_length": limit, "verbose": False, **options}
        encoded = self.raw(*given, **known)
        self._check(encoded)
        return encoded

    def _words(self, words: Sequence[str]) -> list[str]:
        """Words as they stand in a text: in front of one that needs it to be known as the begin of a word, a blank."""
        if not self._blank:
            return list(words)
        return [f" {word}" if word and not word[0].isspace() else word for word in words]

    def problem(self, value: Any) -> str | None:
        """What is wrong with a field of an example, in words: it is a text, or words."""
        if isinstance(value, str):
            return None
        if not self.facts.words:
            return "is not a text"
        words = isinstance(value, list) and all(isinstance(word, str) for word in value)
        return None if words else "is neither a text nor a list of words"

    def has_token(self, word: str) -> bool:
        """Whether anything is left of a word: nothing is of an empty one, nor of signs that a tokenizer drops."""
        ids = self.raw([self._words([word])], is_split_into_words=True, add_special_tokens=False)["input_ids"]
        return bool(ids[0])

    def _check(self, encoded: Any) -> None:
        rows = self.facts.rows
        owners = encoded.get("overflow_to_sample_mapping") or range(len(encoded["input_ids"]))
        for owner, ids in zip(owners, encoded["input_ids"], strict=True):
            if not ids:
                raise ValueError(f"row {owner + 1} has no token; leave it out")
            if rows is not None and max(ids) >= rows:
                text = self.raw.convert_ids_to_tokens(max(ids))
                raise ValueError(
                    f"row {owner + 1} has the token {text!r}, number {max(ids)} of the tokenizer, where the model has "
                    f"embeddings of {rows}; resize the model's embeddings to its tokenizer, or leave the row out"
                )

    def inputs(self, encoded: Any) -> list[dict[str, list[int]]]:
        """Token values by input name, one mapping per input."""
        names = [name for name in encoded if name in self.raw.model_input_names]
        return [{name: encoded[name][index] for name in names} for index in range(len(encoded["input_ids"]))]

    def collate(self, inputs: Sequence[Input], width: int | None = None) -> dict[str, Array]:
        """Pad inputs into int64 arrays of shape (inputs, width) by input name.

        Args:
            inputs: one mapping from input name to token values per input.
            width: of the arrays; the longest input's where None.

        """
        fill = {"input_ids": self.facts.padding_id, "token_type_ids": int(getattr(self.raw, "pad_token_type_id", 0))}
        width = width or max(len(given["input_ids"]) for given in inputs)
        batch = {}
        for name in inputs[0]:
            array = np.full((len(inputs), width), fill.get(name, 0), dtype=np.int64)
            for row, given in enumerate(inputs):
                values = given[name]
                begin = width - len(values) if self.facts.padding_left else 0
                array[row, begin : begin + len(values)] = values
            batch[name] = array
        return batch

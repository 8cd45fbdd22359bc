"""Texts as tokens for embeddings: a tokenizer that knows its folder, where weights of modules lie, and lower case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from . import tokens


def load(folder: Path, known: Mapping[str, Any]) -> Sentences:
    """The tokenizer of a deployed folder, with what was written down; see ``protocols.ServedProcessor``."""
    return Sentences.read(folder, known)


class Sentences(tokens.Tokens):
    """A tokenizer with the folder of its model.

    Attributes:
        folder: where weights of modules lie.
        lower: whether texts are put into lower case before anything else.

    """

    folder: Path
    lower: bool

    @classmethod
    def read(cls, folder: Path, known: Mapping[str, Any]) -> Self:
        """That of a deployed folder, with what :meth:`known` gave."""
        facts = {name: value for name, value in known.items() if name != "lower"}
        found = cls(tokens.load_tokenizer(folder, words=False), tokens.Facts(**facts))
        found.place(folder, known["lower"])
        return found

    def place(self, folder: Path, lower: bool) -> None:
        """Say where the model lies; where texts are to be in lower case, make the tokenizer do it.

        That is the first step of its normalizer, as sentence-transformers has it, since special tokens in a text are
        found before, and letters are mapped one by one.
        """
        from tokenizers.normalizers import Lowercase, Sequence

        self.folder, self.lower = folder, lower
        backend = self.raw.backend_tokenizer
        given: Any = backend.normalizer
        several = type(given) is Sequence
        steps = [*given] if several else [given]
        if lower and not any(isinstance(step, Lowercase) for step in steps):
            backend.normalizer = Sequence([Lowercase(), *(step for step in steps if step is not None)])

    def known(self) -> dict[str, Any]:
        """The facts and ``lower``, for :func:`load`."""
        return {**super().known(), "lower": self.lower}

    def leading(self, prompt: str) -> int:
        """Tokens that a prompt has in front of a text, the special ones before it counted.

        As sentence-transformers counts them (``Transformer._get_prompt_length``): those of the prompt by itself, cut
        off as any text, less one where the last is a special one.
        """
        if not prompt:
            return 0
        ids = self.encode([prompt])["input_ids"][0]
        return len(ids) - int(ids[-1] in self.raw.all_special_ids)

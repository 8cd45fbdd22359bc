"""What a folder of sentence-transformers says of its embeddings: modules, limit, prompts.

Its modules are read by ``sentence_modules``. Whatever else a folder names would make other vectors, and is refused by
its name. Sources: sentence-transformers 6.2, ``base/model.py`` and ``base/modules/transformer.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quantbench.sources.hub import mistake
from quantbench.sources.sentence_modules import CONFIG, MODULES, WEIGHTED, WEIGHTS, kind, listed, load, refuse, steps

MODEL = "config_sentence_transformers.json"
KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
TRANSFORMER = tuple(f"sentence_{kind}_config.json" for kind in KINDS)
"""Names that the transformer's own settings have had; the first that there is counts."""
SETTINGS = (MODEL, *TRANSFORMER)
"""Files that say something of models without ``modules.json`` too, such as cross-encoders."""
HARMLESS = {
    "max_seq_length",
    "do_lower_case",
    "transformer_task",
    "modality_config",
    "module_output_name",
    "unpad_inputs",
}
"""Settings of the transformer that are followed here, or that change no vector."""
TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}
"""What of a model's outputs is pooled."""
PROMPTS = {"query": "", "document": ""}
"""Prompts that every model has, empty unless it says otherwise."""


@dataclass(frozen=True)
class Declared:
    """How a folder of sentence-transformers says that embeddings are made.

    Attributes:
        steps: the modules behind the transformer, see ``served.modules``.
        limit: tokens of a text; None where the tokenizer's counts.
        prompts: that it has, by name.
        prompt: stands before every text by default.
        lower: whether texts are put into lower case before.
        similarity: how near two embeddings are, by the name that it has there; None where nothing is said.

    """

    steps: tuple[Mapping[str, JsonValue], ...]
    limit: int | None = None
    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))
    prompt: str = ""
    lower: bool = False
    similarity: str | None = None

    @property
    def poolings(self) -> list[list[str]]:
        """The modes of each pooling, of which the vectors stand behind each other."""
        return [_modes(step) for step in self.steps if step["kind"] == "Pooling"]

    def describe(self, prompt: str) -> str:
        """What was declared, as a sentence of a note; ``prompt`` is that which was chosen."""
        parts = [_told(step) for step in self.steps]
        parts += ["not normalized"] if not any(step["kind"] == "Normalize" for step in self.steps) else []
        parts += [f"texts of at most {self.limit} tokens"] if self.limit else []
        parts += [f"before every text the prompt {prompt!r}"] if prompt else []
        parts += ["in lower case"] if self.lower else []
        return f"Embeddings are made as {MODULES} of the model says: {', '.join(parts)}"


def _modes(step: Mapping[str, JsonValue]) -> list[str]:
    modes = step["modes"]
    assert isinstance(modes, list)
    return [str(mode) for mode in modes]


def _told(step: Mapping[str, JsonValue]) -> str:
    if step["kind"] == "Pooling":
        return f"pooling {' and '.join(_modes(step))}" + ("" if step["include_prompt"] else " without the prompt")
    if step["kind"] == "Dense":
        sizes = step["sizes"]
        assert isinstance(sizes, list)
        return f"Dense from {sizes[0]} to {sizes[1]} with {step['activation']}"
    return "normalized" if step["kind"] == "Normalize" else str(step["kind"])


def read(folder: Path) -> Declared | None:
    """What a folder declares; None if it is not of sentence-transformers.

    Raises:
        BadInput: at ``model_name_or_path``, if it says what is not done here, with its name.

    """
    if not (folder / MODULES).exists():
        return None
    found = steps(folder)
    about, settings = _settings(folder), load(folder / MODEL)
    described = settings.get("model_type", "SentenceTransformer")
    if described != "SentenceTransformer":
        refuse(folder, MODEL, f"is of the type {described}, which gives no embedding per text")
    prompts = {**PROMPTS, **{str(name): str(text or "") for name, text in (settings.get("prompts") or {}).items()}}
    limit = about.get("max_seq_length")
    return Declared(
        found,
        limit if isinstance(limit, int) else None,
        prompts,
        _default(folder, settings.get("default_prompt_name"), prompts),
        bool(about.get("do_lower_case")),
        settings.get("similarity_fn_name"),
    )


def weights(folder: Path) -> list[Path]:
    """Files of weights that its modules behind the transformer need, relative to the folder, whether there or not."""
    modules = listed(folder) if (folder / MODULES).exists() else []
    return [Path(str(module.get("path") or "")) / WEIGHTS for module in modules if kind(module) in WEIGHTED]


def files(folder: Path) -> list[Path]:
    """The files that declare it, relative to the folder; none if it is not of sentence-transformers."""
    if not (folder / MODULES).exists():
        return []
    places = [Path(str(module["path"])) for module in listed(folder) if module.get("path")]
    named = [place / name for place in places for name in (CONFIG, WEIGHTS)]
    known = [Path(name) for name in (MODULES, MODEL, *TRANSFORMER)]
    return [path for path in (*known, *named) if (folder / path).is_file()]


def _transformer(folder: Path) -> Path:
    """The file of the transformer's own settings, which may not be there."""
    return next((folder / name for name in TRANSFORMER if (folder / name).is_file()), folder / TRANSFORMER[0])


def _settings(folder: Path) -> dict[str, Any]:
    """The transformer's own settings; what is not followed here is refused."""
    file = _transformer(folder)
    found = load(file)
    others = sorted(name for name, value in found.items() if name not in HARMLESS and value)
    if others:
        refuse(folder, file.name, f"sets {others[0]}, which is not followed here")
    task = found.get("transformer_task", "feature-extraction")
    text = (found.get("modality_config") or {}).get("text", TEXT)
    output = found.get("module_output_name", "token_embeddings")
    if task != "feature-extraction" or text != TEXT or output != "token_embeddings":
        refuse(folder, file.name, f"takes another output than the states of tokens ({task}, {text}, {output})")
    return found


def _default(folder: Path, name: str | None, prompts: Mapping[str, str]) -> str:
    if name is not None and name not in prompts:
        refuse(folder, MODEL, f"names the prompt {name!r} by default, which is not among {', '.join(prompts)}")
    return prompts[name] if name is not None else ""


def limit_of_pairs(folder: Path) -> int | None:
    """Tokens of a pair that the folder of a cross-encoder declares; None where the tokenizer's limit counts.

    Raises:
        BadInput: at ``model_name_or_path``, if it puts a prompt before its texts, which is not followed.

    """
    settings = load(folder / MODEL)
    prompt = (settings.get("prompts") or {}).get(settings.get("default_prompt_name"))
    if prompt:
        message = f"{MODEL} in {folder} puts the prompt {prompt!r} before texts, which is not followed for pairs"
        raise mistake("model_name_or_path", f"{message}; write it into the queries and remove default_prompt_name")
    limit = load(_transformer(folder)).get("max_seq_length")
    return limit if isinstance(limit, int) else None


def choose(asked: str, prompts: Mapping[str, str]) -> str | None:
    """The prompt that a name or a text stands for; None for one word, as names are, that is not among the prompts.

    A prompt that is meant as a text ends in a sign or a blank, since a text follows it.
    """
    if asked in prompts:
        return prompts[asked]
    return None if asked.replace("-", "_").isidentifier() else asked


def names(prompts: Mapping[str, str]) -> Sequence[str]:
    """The prompts that say something, as a message lists them."""
    return [name for name, text in prompts.items() if text]

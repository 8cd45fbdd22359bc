"""What a folder of sentence-transformers says of its embeddings: pooling, limit, prompt.

Supported is one transformer, pooled as the mean, the first or the last of its tokens, with or without normalization.
Whatever else a folder names would make other vectors, and is refused by its name. Sources: sentence-transformers
6.2, ``base/model.py``, ``base/modules/transformer.py`` and ``sentence_transformer/modules/pooling.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from quantbench.sources.hub import mistake

MODULES = "modules.json"
MODEL = "config_sentence_transformers.json"
KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
TRANSFORMER = tuple(f"sentence_{kind}_config.json" for kind in KINDS)
"""Names that the transformer's own settings have had; the first that there is counts."""
CONFIG = "config.json"
POOLINGS = ("mean", "cls", "lasttoken")
"""The kinds of pooling that are supported."""
LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
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


@dataclass(frozen=True)
class Declared:
    """How a folder of sentence-transformers says that embeddings are made.

    Attributes:
        pooling: one of ``POOLINGS``.
        limit: tokens of a text; None where the tokenizer's counts.
        prompt: stands before every text.
        lower: whether texts are put into lower case before.

    """

    pooling: str
    limit: int | None = None
    prompt: str = ""
    lower: bool = False

    def describe(self) -> str:
        """What was declared, as a sentence of a note."""
        parts = [f"pooling {self.pooling}"]
        parts += [f"texts of at most {self.limit} tokens"] if self.limit else []
        parts += [f"before every text the prompt {self.prompt!r}"] if self.prompt else []
        parts += ["in lower case"] if self.lower else []
        return f"Embeddings are made as {MODULES} of the model says: {', '.join(parts)}"


def read(folder: Path) -> Declared | None:
    """What a folder declares; None if it is not of sentence-transformers.

    Raises:
        BadInput: at ``model_name_or_path``, if it says what is not done here, with its name.

    """
    if not (folder / MODULES).exists():
        return None
    pooling = _pooling(folder, _modules(folder))
    about, settings = _settings(folder), _load(folder / MODEL)
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        _refuse(folder, MODEL, f"is of the type {kind}, which gives no embedding per text")
    prompt = _prompt(folder, settings)
    if prompt and not pooling.get("include_prompt", True):
        _refuse(folder, f"{CONFIG} of its pooling", "leaves the prompt out of the mean (include_prompt: false)")
    limit = about.get("max_seq_length")
    return Declared(
        str(pooling["pooling_mode"]),
        limit if isinstance(limit, int) else None,
        prompt,
        bool(about.get("do_lower_case")),
    )


def files(folder: Path) -> list[Path]:
    """The files that declare it, relative to the folder; none if it is not of sentence-transformers."""
    if not (folder / MODULES).exists():
        return []
    named = [Path(str(module.get("path", ""))) / CONFIG for module in _list(folder / MODULES) if module.get("path")]
    known = [Path(name) for name in (MODULES, MODEL, *TRANSFORMER)]
    return [path for path in (*known, *named) if (folder / path).is_file() and ".." not in path.parts]


def _modules(folder: Path) -> Path:
    """The folder of the pooling, after a check that there are no modules that are not supported."""
    modules = _list(folder / MODULES)
    names = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    foreign = [str(module.get("type")) for module in modules if not str(module.get("type")).startswith("sentence_tran")]
    others = foreign + [name for name in names if name not in ("Transformer", "Pooling", "Normalize")]
    if others:
        _refuse(folder, MODULES, f"names the module {others[0]}, so that its embeddings are not those measured here")
    if names[:2] != ["Transformer", "Pooling"] or names[2:] not in ([], ["Normalize"]):
        _refuse(folder, MODULES, f"lists {', '.join(names) or 'nothing'}; done are Transformer, Pooling and Normalize")
    if modules[0].get("path"):
        _refuse(folder, MODULES, f"has its transformer in the folder {modules[0]['path']}; give that folder instead")
    return folder / str(modules[1].get("path", ""))


def _pooling(folder: Path, place: Path) -> dict[str, Any]:
    file = place / CONFIG
    if not file.is_file():
        _refuse(folder, MODULES, f"names a pooling in {place.name}, whose {CONFIG} is not there; fetch it again")
    found = _load(file)
    if "pooling_mode" not in found:
        found["pooling_mode"] = [mode for name, mode in LEGACY.items() if found.get(name)] or "mean"
    modes = found["pooling_mode"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        _refuse(folder, f"{place.name}/{CONFIG}", f"pools by {' and '.join(modes)}; done are {', '.join(POOLINGS)}")
    return {**found, "pooling_mode": modes[0]}


def _settings(folder: Path) -> dict[str, Any]:
    """The transformer's own settings; what is not followed here is refused."""
    file = next((folder / name for name in TRANSFORMER if (folder / name).is_file()), folder / TRANSFORMER[0])
    found = _load(file)
    others = sorted(name for name, value in found.items() if name not in HARMLESS and value)
    if others:
        _refuse(folder, file.name, f"sets {others[0]}, which is not followed here")
    task = found.get("transformer_task", "feature-extraction")
    text = (found.get("modality_config") or {}).get("text", TEXT)
    output = found.get("module_output_name", "token_embeddings")
    if task != "feature-extraction" or text != TEXT or output != "token_embeddings":
        _refuse(folder, file.name, f"takes another output than the states of tokens ({task}, {text}, {output})")
    return found


def _prompt(folder: Path, settings: Mapping[str, Any]) -> str:
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts") or {}
    if name is None:
        return ""
    if name not in prompts:
        _refuse(
            folder, MODEL, f"names the prompt {name!r} by default, which is not among {', '.join(prompts) or 'none'}"
        )
    return str(prompts[name] or "")


def _load(file: Path) -> dict[str, Any]:
    found = _json(file) if file.is_file() else {}
    if not isinstance(found, dict):
        raise mistake("model_name_or_path", f"{file} is not a JSON object; fetch it again")
    return found


def _list(file: Path) -> list[dict[str, Any]]:
    found = _json(file)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise mistake("model_name_or_path", f"{file} is not a list of modules; fetch it again")
    return found


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise mistake("model_name_or_path", f"{file} is not readable JSON: {error}; fetch it again") from error


def _refuse(folder: Path, file: str, problem: str) -> NoReturn:
    raise mistake("model_name_or_path", f"{file} in {folder} {problem}; choose another model, or remove {MODULES}")

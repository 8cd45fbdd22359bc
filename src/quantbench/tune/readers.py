"""What programs that serve embeddings look for beside a model: a tokenizer that cuts off, modules, limit and prompts.

The files and what is read of them (looked up in the sources of each in November 2026):

* sentence-transformers 2 to 6: ``modules.json`` with a folder per module, ``sentence_bert_config.json`` (limit, lower
  case), ``config_sentence_transformers.json`` (prompts and the default one; from version 5 on ``encode_query`` takes
  ``query``, ``encode_document`` the first of ``document``, ``passage`` and ``corpus``); pools by itself.
* text-embeddings-inference 1.9: ``config.json``, with two sizes by one name for all models, and where an architecture
  that classifies is served as a classifier;
  ``1_Pooling/config.json`` with one switch per mode; ``max_seq_length``, which must be a number; the prompts, of which
  a request names one as ``prompt_name``.
* fastembed 0.7 to 0.9: ``tokenizer.json`` with its padding, ``model_max_length`` of ``tokenizer_config.json``, which
  must be a number. ``query_embed`` and ``passage_embed`` put nothing before texts of a model that is added.
* transformers.js 3 and 4: ``config.json``, whose ``transformers.js_config`` says which file is meant.
* Vespa 8: ``tokenizer.json`` with its own truncation; prompts stand in its own configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantbench.served.feature_extraction import TEXT, prompts
from quantbench.served.sentences import Sentences
from quantbench.sources.sentence_modules import CONFIG, LEGACY, MODULES, kind, listed, load
from quantbench.sources.sentence_transformers import MODEL, PROMPTS, TRANSFORMER
from quantbench.system.writing import write_atomically, write_saved

PACKAGE = "sentence_transformers.models"
"""Where versions of sentence-transformers from 2 on have modules, or find them by."""
NAME = "default"
"""Of a prompt that the model's folder has no name for."""
NAMES = {"query": "query", "passage": "document"}
"""Of the prompts of a search: what ``encode_query`` and ``encode_document`` of sentence-transformers look for first."""
TASK_HEAD = re.compile(r"For[A-Z]\w*$")
"""What an architecture is called after that has a head."""
LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
"""Names of a size, first that which text-embeddings-inference must find, as it must ``hidden_size``."""
FULL_NAME = {"dtype": "fp32"}
"""transformers.js looks for ``model.onnx`` then, whatever numbers are in it, and not for ``model_quantized.onnx``."""


def write_tokenizer(folder: Path, processor: Sentences) -> None:
    """Write the tokenizer once more, with the limit and the padding that the model was scored with in its own files.

    Padding is left out where its token is an ordinary one, which would become a special one by being named.
    """
    raw, facts = processor.raw, processor.facts
    backend = raw.backend_tokenizer
    if facts.limit is not None:
        raw.model_max_length = facts.limit
        backend.enable_truncation(facts.limit, direction=raw.truncation_side)
    token = raw.convert_ids_to_tokens(facts.padding_id)
    if token in raw.all_special_tokens:
        side = "left" if facts.padding_left else "right"
        kind_id = int(getattr(raw, "pad_token_type_id", 0))
        backend.enable_padding(direction=side, pad_id=facts.padding_id, pad_token=token, pad_type_id=kind_id)
    write_saved(folder, raw.save_pretrained)


def write(folder: Path, args: Mapping[str, Any], limit: int | None, lower: bool, width: int) -> None:
    """Write what is said of the model besides.

    Args:
        folder: of the model; what its files say already is kept.
        args: ``steps``, prompts and, of a search, ``similarity``, as the model was scored with.
        limit: tokens of a text.
        lower: whether texts are put into lower case.
        width: numbers of the state of a token.

    """
    _modules(folder, args["steps"], width)
    _limit(folder, limit, lower)
    _prompts(folder, prompts(args), args.get("similarity"))
    _config(folder, width)


def one_switch(folder: Path) -> bool:
    """Whether text-embeddings-inference reads the pooling from its file: one of three modes, as a switch."""
    found = load(folder / "1_Pooling" / CONFIG)
    switched = [mode for name, mode in LEGACY.items() if found.get(name)]
    return len(switched) == 1 and switched[0] in ("cls", "mean", "lasttoken")


def _modules(folder: Path, steps: Sequence[Mapping[str, Any]], width: int) -> None:
    """``modules.json``, and each pooling in the words of former versions, which all versions and programs know.

    These have no order of modes, so that modes in another order stay as they are.
    """
    if not (folder / MODULES).exists():
        names = ["Transformer", *(step["kind"] for step in steps)]
        places = ["", *(f"{number}_{name}" for number, name in enumerate(names[1:], start=1))]
        made = [
            {"idx": number, "name": str(number), "path": place, "type": f"{PACKAGE}.{name}"}
            for number, (place, name) in enumerate(zip(places, names, strict=True))
        ]
        _write(folder / MODULES, made)
    places = [str(module.get("path") or "") for module in listed(folder) if kind(module) == "Pooling"]
    poolings = [step for step in steps if step["kind"] == "Pooling"]
    for place, step in zip(places, poolings, strict=True):
        found = load(folder / place / CONFIG)
        if step["modes"] == [mode for mode in LEGACY.values() if mode in step["modes"]]:
            size = found.get("embedding_dimension") or found.get("word_embedding_dimension") or width
            switches = {name: mode in step["modes"] for name, mode in LEGACY.items()}
            said = {"word_embedding_dimension": size, **switches, "include_prompt": step["include_prompt"]}
            _write(folder / place / CONFIG, said)


def _limit(folder: Path, limit: int | None, lower: bool) -> None:
    """The limit and lower case, which are as the folder says where there is no limit."""
    file = next((folder / name for name in TRANSFORMER if (folder / name).exists()), folder / TRANSFORMER[0])
    if limit is not None:
        _write(file, {**load(file), "max_seq_length": limit, "do_lower_case": lower})


def names(folder: Path, before: Mapping[str, str]) -> dict[str, str]:
    """The names that a folder has for the prompts of kinds of texts; none for an empty prompt of all texts.

    Args:
        folder: as :func:`write` left it.
        before: see ``feature_extraction.prompts``.

    """
    if TEXT not in before:
        return {kind: NAMES[kind] for kind in before}
    name = load(folder / MODEL).get("default_prompt_name")
    return {TEXT: str(name)} if before[TEXT] and name is not None else {}


def _prompts(folder: Path, before: Mapping[str, str], similarity: str | None) -> None:
    """Say with which prompts the model was scored, by names that are found; that of all texts is the default one."""
    found = load(folder / MODEL)
    prompts_there = {**PROMPTS, **(found.get("prompts") or {})}
    if TEXT not in before:
        named = {NAMES[kind]: text for kind, text in before.items()}
        about = {"prompts": {**prompts_there, **named}, "similarity_fn_name": similarity}
        _write(folder / MODEL, {"default_prompt_name": None, **found, **about})
        return
    prompt, name = before[TEXT], found.get("default_prompt_name")
    if (prompts_there.get(name) or "" if name is not None else "") != prompt:
        name = next((name for name, text in prompts_there.items() if prompt and text == prompt), None)
        if prompt and name is None:
            name = NAME
            prompts_there[name] = prompt
    _write(folder / MODEL, {**found, "prompts": prompts_there, "default_prompt_name": name})


def _config(folder: Path, width: int) -> None:
    """The configuration, of the encoder alone, with its sizes by their usual names and the file that is meant."""
    found = load(folder / CONFIG)
    names = [TASK_HEAD.sub("Model", str(name)) for name in found.get("architectures") or []]
    layers = next((found[name] for name in LAYERS if name in found), None)
    sizes = {"hidden_size": width, **({} if layers is None else {LAYERS[0]: layers})}
    graphs = [*folder.glob("onnx/*")]
    apart = {"use_external_data_format": True} if len(graphs) > 1 else {}
    files = {"transformers.js_config": {**FULL_NAME, **apart}} if graphs else {}
    _write(folder / CONFIG, {**sizes, **found, "architectures": names, **files})


def _write(file: Path, content: Any) -> None:
    write_atomically(file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

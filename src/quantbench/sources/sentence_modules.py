"""The modules of a sentence-transformers folder as steps of ``served.modules``, each with what its own folder says.

Whatever is not known would make other vectors, and is refused by its name. Sources: sentence-transformers 6.2,
``base/modules`` and ``sentence_transformer/modules``, whose names and defaults hold here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import JsonValue

from quantbench.served.modules import ACTIVATIONS, MODES, SENTENCE, TOKENS, Array, tensors
from quantbench.sources.hub import mistake
from quantbench.system.files import file_sha256

MODULES = "modules.json"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
KNOWN = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
WEIGHTED = ("Dense", "LayerNorm")
LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Switches of former versions; of several, the vectors stand in this order."""
ACTIVATION = "torch.nn.modules.activation.Tanh"
"""Of a Dense that names none."""

Step = dict[str, JsonValue]


def listed(folder: Path) -> list[dict[str, Any]]:
    """The entries of ``modules.json``, whose ``path`` is a folder below the model's, or empty.

    Raises:
        BadInput: at ``model_name_or_path``, if it cannot be read.

    """
    file = folder / MODULES
    found = _json(file)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise mistake("model_name_or_path", f"{file} is not a list of modules; fetch it again")
    if any(".." in Path(str(item.get("path") or "")).parts for item in found):
        refuse(folder, MODULES, "names a module outside of the folder")
    return found


def kind(module: Mapping[str, Any]) -> str:
    """The class of a module without the package that it is in."""
    return str(module.get("type", "")).rpartition(".")[2]


def steps(folder: Path) -> tuple[Step, ...]:
    """The modules behind the transformer, in their order.

    Raises:
        BadInput: at ``model_name_or_path``, if one is not known, has no weights or cannot follow those before it.

    """
    modules = listed(folder)
    foreign = [str(module.get("type")) for module in modules if not str(module.get("type")).startswith("sentence_tran")]
    others = foreign + [kind(module) for module in modules if kind(module) not in KNOWN]
    if others:
        refuse(folder, MODULES, f"names the module {others[0]}, so that its embeddings are not those measured here")
    if [kind(module) for module in modules].count("Transformer") != 1 or kind(modules[0]) != "Transformer":
        names = ", ".join(kind(module) for module in modules) or "nothing"
        refuse(folder, MODULES, f"lists {names}; done is one Transformer, with its other modules behind it")
    if modules[0].get("path"):
        refuse(
            folder, MODULES, f"has its transformer in the folder {modules[0]['path']}; lay its files beside {MODULES}"
        )
    read: Mapping[str, Callable[[Path, str], Step]] = {
        "Pooling": _pooling,
        "Dense": _dense,
        "LayerNorm": _layer_norm,
        "Normalize": _normalize,
    }
    behind = [module for module in modules[1:] if kind(module) in read]  # Dropout drops nothing outside of training
    return _connected(folder, [read[kind(module)](folder, str(module.get("path") or "")) for module in behind])


def _connected(folder: Path, found: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that have what they read, as they are done: a normalization of what is not there does nothing."""
    there, done = {TOKENS}, []
    for step in found:
        if step["reads"] in there:
            there.add(str(step["writes"]))
            done.append(step)
        elif step["kind"] != "Normalize":
            refuse(folder, MODULES, f"has a {step['kind']} that reads {step['reads']}, which no module before it makes")
    if SENTENCE not in there:
        refuse(folder, MODULES, "lists no Pooling, so that there is no embedding of a whole text")
    return tuple(done)


def _pooling(folder: Path, place: str) -> Step:
    file = folder / place / CONFIG
    if not file.is_file():
        refuse(folder, MODULES, f"names a pooling in {place}, whose {CONFIG} is not there; fetch it again")
    found = load(file)
    modes = found.get("pooling_mode") or [mode for name, mode in LEGACY.items() if found.get(name)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else [str(mode) for mode in modes]
    others = [mode for mode in modes if mode not in MODES]
    if others:
        refuse(folder, f"{place}/{CONFIG}", f"pools by {others[0]}; done are {', '.join(MODES)}")
    included = bool(found.get("include_prompt", True))
    return {"kind": "Pooling", "reads": TOKENS, "writes": SENTENCE, "modes": modes, "include_prompt": included}


def _dense(folder: Path, place: str) -> Step:
    found = load(folder / place / CONFIG)
    function = str(found.get("activation_function", ACTIVATION))
    name = function.rpartition(".")[2]
    if not function.startswith("torch.nn.") or name not in ACTIVATIONS:
        refuse(
            folder, f"{place}/{CONFIG}", f"has the activation {function}; done are {', '.join(ACTIVATIONS)} of torch"
        )
    step = _weighted(folder, place, "Dense")
    sizes = [found.get(size) for size in ("out_features", "in_features")]
    residual = bool(found.get("use_residual"))
    wanted = {"linear.weight": sizes}
    if found.get("bias", True):
        wanted["linear.bias"] = sizes[:1]
    if residual and sizes[0] != sizes[1]:
        wanted["residual.weight"] = sizes
    _check_shapes(folder, place, wanted)
    reads = found.get("module_input_name") or SENTENCE
    writes = found.get("module_output_name") or reads
    return {**step, "reads": reads, "writes": writes, "activation": name, "residual": residual, "sizes": sizes[::-1]}


def _layer_norm(folder: Path, place: str) -> Step:
    step = _weighted(folder, place, "LayerNorm")
    size = load(folder / place / CONFIG).get("dimension")
    _check_shapes(folder, place, {"norm.weight": [size], "norm.bias": [size]})
    return {**step, "reads": SENTENCE, "writes": SENTENCE}


def _normalize(folder: Path, place: str) -> Step:
    found = load(folder / place / CONFIG) if place else {}
    reads = found.get("module_input_name") or SENTENCE
    return {"kind": "Normalize", "reads": reads, "writes": found.get("module_output_name") or reads}


def _weighted(folder: Path, place: str, name: str) -> Step:
    """A step with its file of weights, and the hash of that, so that equal steps are equal computations."""
    file = folder / place / WEIGHTS
    if not file.is_file() and (folder / place / PICKLED).is_file():
        refuse(
            folder,
            f"{place}/{PICKLED}",
            f"has the weights of its {name} as a pickle only, which can run code when loaded; save the model once more "
            "by SentenceTransformer.save_pretrained, which writes safetensors",
        )
    if not file.is_file():
        refuse(folder, MODULES, f"names a {name} in {place}, whose {WEIGHTS} is not there; fetch it again")
    return {"kind": name, "weights": (Path(place) / WEIGHTS).as_posix(), "sha256": file_sha256(file)}


def _check_shapes(folder: Path, place: str, wanted: Mapping[str, Sequence[Any]]) -> None:
    file = folder / place / WEIGHTS
    try:
        found: dict[str, Array] = tensors(file)
    except ValueError as error:
        raise mistake("model_name_or_path", f"{error}; fetch it again") from error
    for name, shape in wanted.items():
        given = list(found[name].shape) if name in found else None
        if given != list(shape):
            told = f"has {name} of shape {given}" if given else f"has no {name}"
            refuse(folder, f"{place}/{WEIGHTS}", f"{told}, where {CONFIG} beside it says {list(shape)}")


def load(file: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file.

    Raises:
        BadInput: at ``model_name_or_path``, if it is something else.

    """
    found = _json(file) if file.is_file() else {}
    if not isinstance(found, dict):
        raise mistake("model_name_or_path", f"{file} is not a JSON object; fetch it again")
    return found


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise mistake("model_name_or_path", f"{file} is not readable JSON: {error}; fetch it again") from error


def refuse(folder: Path, file: str, problem: str) -> NoReturn:
    """Raise that a file of a model's folder says what is not done here."""
    raise mistake("model_name_or_path", f"{file} in {folder} {problem}; choose another model, or remove {MODULES}")

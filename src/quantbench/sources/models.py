"""Models: folders, snapshots of the hub or the embedded default, and whether their files are whole and safe to load."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from quantbench import embedded
from quantbench.errors import BadInput
from quantbench.sources import sentence_transformers
from quantbench.sources.hub import hub_problem, mistake
from quantbench.sources.model_files import ONNX
from quantbench.system.files import file_sha256

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
SETFIT = ("config_setfit.json", "model_head.pkl")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
NOT_FETCHED = ["*/*/*", "*/[!c]*", *(f"*/*.{ending}" for ending in ("safetensors", "bin", "model", "txt", "py"))]
"""Files of a repository's folders, but for their ``config.json``: sentence-transformers says there how it pools. What
else its modules need is fetched when it is known which there are."""


EXPORTED = ["model.onnx*", "onnx/model.onnx*"]
"""The float file of a repository of ONNX files alone, with its weights, beside which lie versions of it."""


def locate_model(
    name: str, allow_pickled_weights: bool = False, trust_remote_code: bool = False, revision: str | None = None
) -> Path:
    """Folder of a model: the embedded one (``demo``), a local one, or a snapshot of a hub repository; or an ONNX file.

    Only configuration, tokenizer and weights are fetched from the hub, safetensors unless pickles are asked for, and
    the model's own code where it may run; of a repository without them its float ONNX file. All of the hub's
    ``revision``, its newest where that is None.

    Raises:
        BadInput: at ``model_name_or_path``, if there is no such model or it cannot be reached.

    """
    if name == embedded.NAME:
        return embedded.MODEL
    path = Path(name).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() == ONNX):
        return path
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        problem = "is neither a folder nor an ONNX file" if path.exists() else "does not exist"
        needed = "give a folder, an ONNX file, a hub name or demo"
        raise mistake("model_name_or_path", f"model folder {name!r} {problem}; {needed}")
    from huggingface_hub import snapshot_download

    allowed = {"*.bin": allow_pickled_weights, "*.py": trust_remote_code}
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", *(name for name, wanted in allowed.items() if wanted)]
    try:
        found = Path(snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=NOT_FETCHED))
        weights = [path.as_posix() for path in sentence_transformers.weights(found)]
        if not any((*found.glob("*.safetensors"), *found.glob("*.bin"))):
            weights += EXPORTED
        if weights:  # of the same commit, after which the folder of a snapshot is called
            snapshot_download(name, revision=found.name, allow_patterns=weights)
    except BadInput:
        raise
    except Exception as error:
        raise mistake("model_name_or_path", hub_problem("model", name, error)) from error
    return found


def check_model_folder(folder: Path, allow_pickled_weights: bool, trust_remote_code: bool) -> dict[str, Any]:
    """The model's configuration, after checks that its files are whole and safe to load.

    Raises:
        BadInput: at ``model_name_or_path``: no or broken ``config.json``, no weights, a truncated file, pickled
            weights or code of its own without the permission that is asked for by name.

    """
    config = check_config(folder, trust_remote_code)
    files = [folder / name for name in WEIGHTS if (folder / name).exists()]
    if not files:
        pickled = [name for name in PICKLED if (folder / name).exists()]
        if pickled and allow_pickled_weights:
            return config
        hint = (
            f"has pickled weights only ({pickled[0]}), which can run code when loaded; convert them to safetensors, "
            "or set allow_pickled_weights: true if you trust their source"
            if pickled
            else f"holds no weights; it needs {' or '.join(WEIGHTS)}, as save_pretrained writes them"
        )
        raise mistake("model_name_or_path", f"model folder {folder} {hint}")
    for file in _shards(files[0]):
        check_safetensors(file)
    return config


def check_config(folder: Path, trust_remote_code: bool) -> dict[str, Any]:
    """The content of a model's ``config.json``.

    Raises:
        BadInput: at ``model_name_or_path``: there is none, or it brings code without the permission.

    """
    config = load_json(folder / "config.json")
    if config.get("auto_map") and not trust_remote_code:
        raise mistake(
            "model_name_or_path",
            f"{folder} brings code of its own (auto_map in config.json), which would run on this machine; "
            "read it, then set trust_remote_code: true",
        )
    return config


def check_kind(folder: Path, head: bool) -> None:
    """Refuse folders that are something else than a checkpoint of transformers; ``head`` where the task needs one.

    Raises:
        BadInput: at ``model_name_or_path``: a model of SetFit, whose head transformers does not load.

    """
    if head and any((folder / name).exists() for name in SETFIT):
        message = (
            "is a model of SetFit, whose head is a file of scikit-learn that cannot be exported; its body, the "
            "embeddings, can be measured with task: feature-extraction (--task feature-extraction)"
        )
        raise mistake("model_name_or_path", f"model folder {folder} {message}")


def count_in_files(folder: Path) -> int:
    """Numbers that a checked folder's weights files hold, by their headers; of pickles at most half of their bytes."""
    files = [folder / name for name in WEIGHTS if (folder / name).exists()]
    if not files:
        return sum(file.stat().st_size for file in folder.glob("*.bin")) // 2
    return sum(math.prod(shape) for file in _shards(files[0]) for shape in check_safetensors(file))


def check_architecture(config: dict[str, Any], name: str, task: str, auto_class: str, suffix: str) -> None:
    """Refuse a model whose configuration names no architecture for a task.

    Those are for it that the task's auto class of transformers gives for the model's type, whatever they are called
    (``DeiTForImageClassificationWithTeacher``), and those of other names with the task's ``suffix`` in them, as which
    the auto class then loads its own. Any will do where ``suffix`` is empty, and where the folder's own code is told.

    Raises:
        BadInput: at ``model_name_or_path``.

    """
    known = [str(architecture) for architecture in config.get("architectures") or []]
    if not suffix or auto_class in (config.get("auto_map") or {}):
        return
    given, kind = classes_of(auto_class, config), config.get("model_type")
    message = f"{name!r} is no model for {task}: "
    if given == ():
        raise mistake(
            "model_name_or_path", f"{message}transformers has no {suffix} of its type {kind!r}; choose another"
        )
    if not any(architecture in (given or ()) or suffix in architecture for architecture in known):
        message += f"its config.json names {', '.join(known) or 'no architecture'}"
        raise mistake("model_name_or_path", f"{message}, expected one that has {suffix} in its name; choose another")


def classes_of(auto_class: str, config: dict[str, Any]) -> tuple[str, ...] | None:
    """Names of the classes that an auto class knows for a configuration; None where transformers has no such type."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING:
        return None
    mapping = getattr(transformers, auto_class)._model_mapping
    found = mapping.get(CONFIG_MAPPING[kind], ())
    return tuple(one.__name__ for one in (found if isinstance(found, tuple) else (found,)))


def _shards(file: Path) -> list[Path]:
    if file.suffix != ".json":
        return [file]
    named = load_json(file).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise mistake("model_name_or_path", f"{file} names no weights files (weight_map); fetch it again")
    return sorted({file.parent / name for name in named.values()})


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder.

    Raises:
        BadInput: at ``model_name_or_path``, if there is none that can be read.

    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise mistake(
            "model_name_or_path", f"model folder {path.parent} has no {path.name}; give the folder that has it"
        ) from error
    except (OSError, ValueError) as error:
        raise mistake("model_name_or_path", f"{path} is not readable JSON: {error}; fetch it again") from error
    if not isinstance(data, dict):
        raise mistake("model_name_or_path", f"{path} is not a JSON object; fetch it again")
    return data


def check_safetensors(path: Path) -> list[tuple[int, ...]]:
    """The shapes of a safetensors file's tensors, after the library's check that header and length fit each other.

    Raises:
        BadInput: at ``model_name_or_path``.

    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            shapes = [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118, it is no mapping
    except FileNotFoundError as error:
        raise mistake("model_name_or_path", f"weights file {path} is missing") from error
    except (OSError, SafetensorError) as error:
        raise mistake("model_name_or_path", f"weights file {path} is damaged or truncated; fetch it again") from error
    if not shapes:
        raise mistake("model_name_or_path", f"weights file {path} holds no weights; fetch it again")
    return shapes


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of the files that make the model and its tokenizer."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".txt", ".model", ".safetensors", ".bin", ".py"):
            total.update(f"{path.name}\0{file_sha256(path)}\n".encode())
    for name in sentence_transformers.files(folder):
        total.update(f"{name}\0{file_sha256(folder / name)}\n".encode())
    return total.hexdigest()

"""Where models and data sets come from: the hub, its cache, a folder, a file, or the embedded default."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from quantbench import embedded
from quantbench.errors import BadInput, Mistake
from quantbench.settings import Dataset, digest

CONVERTED_REVISION = "refs/convert/parquet"
"""Branch of a data set on the hub that holds its Parquet conversion (Hugging Face data set viewer)."""
SCRIPT_DATASETS = {"conll2003": "eriktks/conll2003"}
"""Old names of data sets that were scripts, and the repository that holds their Parquet conversion."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
BUILDERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv"}


def mistake(key: str, message: str) -> BadInput:
    """A mistake at a dotted key of the configuration; ``preflight`` turns the key into file and line."""
    return BadInput([Mistake(key, message)])


def locate_model(name: str, allow_pickled_weights: bool = False) -> Path:
    """Folder of a model: the embedded one (``demo``), a local folder, or a snapshot of a hub repository.

    Only configuration, tokenizer and weights are fetched from the hub, safetensors unless pickles are asked for.

    Raises:
        BadInput: at ``model_name_or_path``, if there is no such model or it cannot be reached.

    """
    if name == embedded.NAME:
        return embedded.MODEL
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        problem = "is not a folder" if path.exists() else "does not exist"
        raise mistake("model_name_or_path", f"model folder {name!r} {problem}; give a folder, a hub name or demo")
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", *(["*.bin"] if allow_pickled_weights else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except Exception as error:
        raise mistake("model_name_or_path", _hub_problem("model", name, error)) from error


def _hub_problem(what: str, name: str, error: Exception) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE or isinstance(error, LocalEntryNotFoundError):
        return (
            f"{what} {name!r} is neither a local path nor in the hub's cache, and the hub cannot be reached "
            "(offline); give a local path, or fetch it once while online"
        )
    if isinstance(error, GatedRepoError):
        return f"{what} {name!r} is gated on the hub; accept its terms there and log in with 'hf auth login'"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{what} {name!r} is neither a local path nor a repository on the hub (or it is private: 'hf auth login')"
        )
    return f"{what} {name!r} cannot be loaded: {first_line(error)}"


def check_model_folder(folder: Path, allow_pickled_weights: bool, trust_remote_code: bool) -> dict[str, Any]:
    """The model's configuration, after checks that its files are whole and safe to load.

    Raises:
        BadInput: at ``model_name_or_path``: no or broken ``config.json``, no weights, a truncated file, pickled
            weights or code of its own without the permission that is asked for by name.

    """
    config = _json(folder / "config.json")
    if config.get("auto_map") and not trust_remote_code:
        raise mistake(
            "model_name_or_path",
            f"{folder} brings code of its own (auto_map in config.json), which would run on this machine; "
            "read it, then set trust_remote_code: true",
        )
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


def check_architecture(config: dict[str, Any], name: str, task: str, suffix: str) -> None:
    """Refuse a model whose configuration names no architecture that ends in ``suffix``; any will do where it is empty.

    Raises:
        BadInput: at ``model_name_or_path``.

    """
    known = [str(architecture) for architecture in config.get("architectures") or []]
    if suffix and not any(architecture.endswith(suffix) for architecture in known):
        message = f"{name!r} is no model for {task}: its config.json names {', '.join(known) or 'no architecture'}"
        raise mistake("model_name_or_path", f"{message}, expected one that ends in {suffix}; choose another")


def _shards(file: Path) -> list[Path]:
    if file.suffix != ".json":
        return [file]
    named = _json(file).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise mistake("model_name_or_path", f"{file} names no weights files (weight_map); fetch it again")
    return sorted({file.parent / name for name in named.values()})


def _json(path: Path) -> dict[str, Any]:
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


def check_safetensors(path: Path) -> None:
    """Check that a safetensors file is as long as its own header says (format: 8 bytes length, JSON, data).

    Raises:
        BadInput: at ``model_name_or_path``.

    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            size = path.stat().st_size
            header = json.loads(file.read(length)) if length <= size else None
        tensors = {name: entry for name, entry in (header or {}).items() if name != "__metadata__"}
        expected = 8 + length + max(entry["data_offsets"][1] for entry in tensors.values())
    except FileNotFoundError as error:
        raise mistake("model_name_or_path", f"weights file {path} is missing") from error
    except (OSError, ValueError, struct.error, LookupError, TypeError, AttributeError) as error:
        raise mistake("model_name_or_path", f"weights file {path} is damaged or truncated; fetch it again") from error
    if size != expected:
        raise mistake(
            "model_name_or_path",
            f"weights file {path} has {size:,} bytes, its header says {expected:,}: truncated; fetch it again",
        )


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of the files that make the model and its tokenizer."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".txt", ".model", ".safetensors", ".bin", ".py"):
            total.update(f"{path.name}\0{file_sha256(path)}\n".encode())
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def load_split(dataset: Dataset, split: str, key: str) -> Any:
    """One split of a data set as a ``datasets.Dataset``.

    Args:
        dataset: path is ``demo``, a file (Parquet, JSON, CSV: its only split is ``train``), a folder of such files
            or a repository on the hub.
        split: a split's name, or a slice of one such as ``train[:80%]``.
        key: the dotted key that named the split, for messages.

    Raises:
        BadInput: at ``key`` or ``dataset.path``.

    """
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    huggingface_hub.logging.set_verbosity_error()
    try:
        loaded = _load(dataset, split)
    except BadInput:
        raise
    except Exception as error:
        raise mistake(*_data_problem(dataset, split, key, error)) from error
    if len(loaded) == 0:
        raise mistake(key, f"split {split!r} of {dataset.path!r} is empty; choose another")
    return loaded


def _load(dataset: Dataset, split: str) -> Any:
    import datasets

    if dataset.path == embedded.NAME:
        return datasets.load_dataset(str(embedded.DATA), split=split)
    path = Path(dataset.path).expanduser()
    if path.is_file():
        if path.suffix not in BUILDERS:
            raise mistake("dataset.path", f"{path} is none of {', '.join(BUILDERS)}; convert it to one")
        if path.stat().st_size == 0:
            raise mistake("dataset.path", f"data file {path} is empty; give a file with examples")
        return datasets.load_dataset(BUILDERS[path.suffix], data_files=str(path), split=split)
    if path.is_dir():
        return datasets.load_dataset(str(path), dataset.name, split=split)
    if dataset.path.startswith((".", "/", "~")) or dataset.path.count("/") > 1 or path.suffix in BUILDERS:
        raise mistake("dataset.path", f"data set {dataset.path!r} does not exist; give a file, a folder or a hub name")
    return _load_from_hub(dataset, split)


def _load_from_hub(dataset: Dataset, split: str) -> Any:
    """From the hub, or offline from its cache; data sets that were scripts come from their Parquet conversion."""
    import datasets
    from huggingface_hub import constants, snapshot_download

    repository = SCRIPT_DATASETS.get(dataset.path, dataset.path)
    if repository != dataset.path or dataset.revision == CONVERTED_REVISION:
        return _load_converted(dataset, repository, split)
    if constants.HF_HUB_OFFLINE:
        folder = snapshot_download(repository, repo_type="dataset", revision=dataset.revision, local_files_only=True)
        return datasets.load_dataset(folder, dataset.name, split=split)
    try:
        return datasets.load_dataset(repository, dataset.name, split=split, revision=dataset.revision)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error) or dataset.revision is not None:
            raise
        return _load_converted(dataset, repository, split)


def _load_converted(dataset: Dataset, repository: str, split: str) -> Any:
    """One configuration of the Parquet conversion, which has a folder for each.

    The snapshot is asked for in the same way online and offline, so that the cache of the one serves the other; a
    configuration must be chosen, since ``datasets`` would join them all.
    """
    import datasets
    from huggingface_hub import snapshot_download

    folder = Path(
        snapshot_download(
            repository,
            repo_type="dataset",
            revision=dataset.revision or CONVERTED_REVISION,
            allow_patterns=[f"{dataset.name or '*'}/*.parquet"],
        )
    )
    known = sorted(path.name for path in folder.iterdir() if path.is_dir())
    name = dataset.name or (known[0] if len(known) == 1 else None)
    if name not in known:
        raise mistake("dataset.name", f"{dataset.path!r} has several configurations; set one of {', '.join(known)}")
    return datasets.load_dataset(str(folder / name), split=split)


def _data_problem(dataset: Dataset, split: str, key: str, error: Exception) -> tuple[str, str]:
    text = str(error).strip()
    if "Unrecognized instruction format" in text or "Percent slice" in text:
        return key, f"{split!r} is no split: {first_line(error)}; give a name or a slice such as train[:80%]"
    if "Unknown split" in text or ("split" in text.lower() and isinstance(error, ValueError | KeyError)):
        known = text.partition("Should be one of ")[2].strip("[].").replace("'", "") or "see the data set's page"
        return key, f"{dataset.path!r} has no split {split!r}; there is: {known}"
    if "BuilderConfig" in text or "Config name is missing" in text:
        return "dataset.name", f"{dataset.path!r} needs another dataset.name: {' '.join(text.split())}"
    if Path(dataset.path).expanduser().exists() or dataset.path == embedded.NAME:
        cause = error.__cause__ or error
        return (
            "dataset.path",
            f"data set {dataset.path!r} is broken or not in a known format: {first_line(cause)}; mend or replace it",
        )
    return "dataset.path", _hub_problem("data set", dataset.path, error)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, with its class where the message alone says nothing."""
    text = str(error).strip()
    if not text or isinstance(error, LookupError):  # the message of these is a bare key
        return f"{type(error).__name__} {text}".strip()
    return text.splitlines()[0].rstrip(".")


def data_fingerprint(dataset: Any, columns: list[str]) -> str:
    """SHA-256 over the named columns' contents, in order."""
    return digest({column: column_digest(dataset, column) for column in columns})


def column_digest(dataset: Any, column: str) -> str:
    """SHA-256 over a column's contents, in order; of images over their files."""
    feature = dataset.features[column]
    if type(feature).__name__ != "Image":
        return digest(list(dataset[column]))
    files = dataset.cast_column(column, type(feature)(decode=False))[column]
    return digest([_image_digest(file) for file in files])


def _image_digest(file: dict[str, Any]) -> str:
    return hashlib.sha256(file["bytes"]).hexdigest() if file["bytes"] else file_sha256(Path(file["path"]))

"""Data sets: splits of files, folders, repositories on the hub, or of the embedded default."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from quantbench import embedded
from quantbench.errors import BadInput, first_line
from quantbench.files import file_sha256
from quantbench.settings import Dataset, digest
from quantbench.sources.hub import hub_problem, mistake

CONVERTED_REVISION = "refs/convert/parquet"
"""Branch of a data set on the hub that holds its Parquet conversion (Hugging Face data set viewer)."""
SCRIPT_DATASETS = {"conll2003": "eriktks/conll2003"}
"""Old names of data sets that were scripts, and the repository that holds their Parquet conversion."""
BUILDERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv"}


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
    return "dataset.path", hub_problem("data set", dataset.path, error)


def data_fingerprint(dataset: Any, columns: list[str]) -> str:
    """SHA-256 over the named columns' contents, in order."""
    return digest({column: column_digest(dataset, column) for column in columns})


def column_digest(dataset: Any, column: str) -> str:
    """SHA-256 over a column's contents, in order; of images over their files."""
    return digest(_plain_column(dataset, column))


def row_digests(dataset: Any, columns: list[str]) -> list[str]:
    """SHA-256 over the named columns of each row."""
    return [digest(list(row)) for row in zip(*(_plain_column(dataset, column) for column in columns), strict=True)]


def _plain_column(dataset: Any, column: str) -> list[Any]:
    feature = dataset.features[column]
    if type(feature).__name__ != "Image":
        return [_plain(value) for value in dataset[column]]
    return [_image_digest(file) for file in dataset.cast_column(column, type(feature)(decode=False))[column]]


def _plain(value: Any) -> Any:
    """A cell as JSON can hold it: NaN and what is no number, text or truth as a text."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    plain = value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else repr(value)


def _image_digest(file: dict[str, Any] | None) -> str:
    if file is None:
        return ""
    return hashlib.sha256(file["bytes"]).hexdigest() if file["bytes"] else file_sha256(Path(file["path"]))

"""Data sets as tables by split: files, folders, repositories on the hub or in its cache, and the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbench import embedded
from quantbench.schema.settings import Dataset
from quantbench.sources.hub import mistake
from quantbench.sources.local import folder_splits, format_of, has_configurations, read_file, read_folder

CONVERTED_REVISION = "refs/convert/parquet"
"""Branch of a data set on the hub that holds its Parquet conversion (Hugging Face data set viewer)."""
SCRIPT_DATASETS = {"conll2003": "eriktks/conll2003"}
"""Old names of data sets that were scripts, and the repository that holds their Parquet conversion."""


LITERALLY = {"keep_default_na": False, "na_values": [""]}
"""Options of the CSV reader for files on the hub: only the empty cell is missing."""
EMBEDDED_TEXT = "text"
"""Column of the embedded data whose texts are its words with blanks between them."""


def load(dataset: Dataset, split: str) -> Any:
    """One split, or slices of splits, as a ``datasets.Dataset``.

    Raises:
        BadInput: if there is no such data set.
        Exception: of the libraries, if it cannot be read.

    """
    import datasets

    if dataset.path == embedded.NAME:
        loaded = datasets.load_dataset(str(embedded.DATA), split=split)
        return loaded.add_column(EMBEDDED_TEXT, [" ".join(words) for words in loaded["tokens"]])
    path, texts = Path(dataset.path).expanduser(), set(dataset.data_keys.values())
    if path.is_file():
        return read_file(path, split, texts)
    if path.is_dir():
        return read_folder(path, dataset.name, split, texts)
    _check_there(dataset)
    return _load_from_hub(dataset, split)


def split_names(dataset: Dataset) -> list[str]:
    """The splits that there are; errors as of :func:`load`."""
    import datasets
    from huggingface_hub import constants

    path = embedded.DATA if dataset.path == embedded.NAME else Path(dataset.path).expanduser()
    if path.is_file():
        return ["train"]
    if path.is_dir():
        files = folder_splits(path, dataset.name)
        return datasets.get_dataset_split_names(str(path), dataset.name) if files is None else list(files)
    _check_there(dataset)
    repository = SCRIPT_DATASETS.get(dataset.path, dataset.path)
    if repository == dataset.path and dataset.revision != CONVERTED_REVISION:
        if constants.HF_HUB_OFFLINE:
            kept = _kept_snapshot(dataset)
            return list(folder_splits(kept, dataset.name) or datasets.get_dataset_split_names(str(kept), dataset.name))
        try:
            return list(datasets.get_dataset_split_names(repository, dataset.name, revision=dataset.revision))
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error) or dataset.revision is not None:
                raise
    return list(datasets.get_dataset_split_names(str(_converted(dataset, repository))))


def configurations(dataset: Dataset) -> list[str]:
    """The names of its configurations; none of what has none, and of what the library need not be asked for.

    Raises:
        Exception: of the libraries, if it cannot be had.

    """
    import datasets

    place = folder_of(dataset)
    if place is not None:
        return list(datasets.get_dataset_config_names(str(place))) if has_configurations(place) else []
    if dataset.path == embedded.NAME or Path(dataset.path).expanduser().exists():
        return []
    _check_there(dataset)
    if dataset.path in SCRIPT_DATASETS or dataset.revision == CONVERTED_REVISION:
        return []
    try:
        return list(datasets.get_dataset_config_names(dataset.path, revision=dataset.revision))
    except RuntimeError:  # of a script, whose Parquet conversion is read
        return []


def folder_of(dataset: Dataset) -> Path | None:
    """The folder on this machine that is read: its own, or offline that in the hub's cache; None where there is none.

    Raises:
        Exception: of the library, if it is in no cache.

    """
    from huggingface_hub import constants

    path = Path(dataset.path).expanduser()
    if path.is_dir() or path.is_file() or dataset.path == embedded.NAME:
        return path if path.is_dir() and dataset.path != embedded.NAME else None
    _check_there(dataset)
    named = dataset.path in SCRIPT_DATASETS or dataset.revision == CONVERTED_REVISION
    return _kept_snapshot(dataset) if constants.HF_HUB_OFFLINE and not named else None


def _check_there(dataset: Dataset) -> None:
    """Refuse what reads like a path rather than like a name on the hub."""
    path = dataset.path
    if path.startswith((".", "/", "~")) or path.count("/") > 1 or format_of(Path(path)):
        raise mistake("dataset.path", f"data set {path!r} does not exist; give a file, a folder or a hub name")


def _load_from_hub(dataset: Dataset, split: str) -> Any:
    """From the hub, or offline from its cache; data sets that were scripts come from their Parquet conversion."""
    import datasets
    from huggingface_hub import constants

    repository = SCRIPT_DATASETS.get(dataset.path, dataset.path)
    if repository != dataset.path or dataset.revision == CONVERTED_REVISION:
        return _load_converted(dataset, repository, split)
    if constants.HF_HUB_OFFLINE:
        return read_folder(_kept_snapshot(dataset), dataset.name, split, dataset.data_keys.values())
    try:
        builder = datasets.load_dataset_builder(repository, dataset.name, revision=dataset.revision)
        literally = LITERALLY if type(builder.config).__name__ == "CsvConfig" else {}
        return datasets.load_dataset(repository, dataset.name, split=split, revision=dataset.revision, **literally)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error) or dataset.revision is not None:
            raise
        return _load_converted(dataset, repository, split)


def _kept_snapshot(dataset: Dataset) -> Path:
    """The folder of a data set in the hub's cache."""
    from huggingface_hub import snapshot_download

    kept = snapshot_download(dataset.path, repo_type="dataset", revision=dataset.revision, local_files_only=True)
    return Path(kept)


def _load_converted(dataset: Dataset, repository: str, split: str) -> Any:
    import datasets

    return datasets.load_dataset(str(_converted(dataset, repository)), split=split)


def _converted(dataset: Dataset, repository: str) -> Path:
    """The folder of one configuration of the Parquet conversion, which has one for each.

    The snapshot is asked for in the same way online and offline, so that the cache of the one serves the other; a
    configuration must be chosen, since ``datasets`` would join them all.
    """
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
    return folder / name

"""Data sets: splits of files, folders, repositories on the hub, or of the embedded default."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quantbench import embedded
from quantbench.errors import BadInput, first_line
from quantbench.schema.base import digest
from quantbench.schema.settings import Dataset
from quantbench.sources import beir
from quantbench.sources.cells import field
from quantbench.sources.hub import hub_problem, mistake
from quantbench.sources.local import folder_splits, format_of, read_file, read_folder, sliced
from quantbench.system.files import file_sha256

CONVERTED_REVISION = "refs/convert/parquet"
"""Branch of a data set on the hub that holds its Parquet conversion (Hugging Face data set viewer)."""
SCRIPT_DATASETS = {"conll2003": "eriktks/conll2003"}
"""Old names of data sets that were scripts, and the repository that holds their Parquet conversion."""


LITERALLY = {"keep_default_na": False, "na_values": [""]}
"""Options of the CSV reader for files on the hub: only the empty cell is missing."""
SHUFFLED = re.compile(r"(?P<name>\w+)\.shuffle\((?P<seed>\d+)\)(?P<part>\[.*\])?")
"""A split, or a slice of one, whose rows are put into another order by a seed before it is cut."""
EMBEDDED_TEXT = "text"
"""Column of the embedded data whose texts are its words with blanks between them."""
BYTES = ("binary", "large_binary")
"""Types of pictures in files that were not written by ``datasets``."""


def load_split(dataset: Dataset, split: str, key: str) -> Any:
    """One split of a data set as a ``datasets.Dataset``.

    Args:
        dataset: path is ``demo``, a file (Parquet, JSON, CSV: its only split is ``train``), a folder of such files
            or a repository on the hub.
        split: a split's name, or a slice of one such as ``train[:80%]``, or of its rows in an order drawn by a seed,
            ``train.shuffle(0)[:80%]``.
        key: the dotted key that named the split, for messages.

    Raises:
        BadInput: at ``key`` or ``dataset.path``.

    """
    _silence()
    try:
        loaded = _shuffled(dataset, split)
    except BadInput:
        raise
    except Exception as error:
        raise mistake(*_data_problem(dataset, split, key, error)) from error
    if len(loaded) == 0:
        raise mistake(key, f"split {split!r} of {dataset.path!r} is empty; choose another")
    if set(loaded.column_names) <= {"version", "data", "paragraphs", "title"} and {"data", "paragraphs"} & {
        *loaded.column_names
    }:
        how = "write a row per question: {question, context, answers: {text: […], answer_start: […]}}"
        raise mistake("dataset.path", f"{dataset.path} has the nested form of SQuAD's own files; {how}")
    folder = Path(dataset.path).expanduser()
    if beir.is_layout(folder):
        loaded = beir.with_texts(folder, loaded)
    columns = (*dataset.data_keys.values(), *dataset.ref_keys)
    return _plain_types(_with_fields(loaded, columns), columns)


def split_names(dataset: Dataset) -> list[str]:
    """The splits that a data set has.

    Raises:
        BadInput: at ``dataset.path`` or ``dataset.name``, if there is no such data set or it cannot be read.

    """
    _silence()
    try:
        return _split_names(dataset)
    except BadInput:
        raise
    except Exception as error:
        raise mistake(*_data_problem(dataset, "", "dataset.path", error)) from error


def _split_names(dataset: Dataset) -> list[str]:
    import datasets
    from huggingface_hub import constants

    path = embedded.DATA if dataset.path == embedded.NAME else Path(dataset.path).expanduser()
    if path.is_file():
        return ["train"]
    if beir.is_layout(path):
        return beir.splits(path)
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


def _silence() -> None:
    """No bars and no warnings of the libraries: what is wrong is told once, by whoever calls them."""
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    huggingface_hub.logging.set_verbosity_error()


def _shuffled(dataset: Dataset, split: str) -> Any:
    """A split, whose rows may be put into another order before it is cut."""
    asked = SHUFFLED.fullmatch(split.strip())
    if asked is None:
        return _load(dataset, split)
    name = asked["name"]
    whole = _load(dataset, name).shuffle(seed=int(asked["seed"]), keep_in_memory=True)
    return sliced({name: whole}, f"{name}{asked['part'] or ''}")


def _with_fields(data: Any, columns: Iterable[str]) -> Any:
    """The data with fields of records as columns of their own, where a dotted name such as ``review.text`` asks."""
    for column in dict.fromkeys(columns):
        parent, *path = column.split(".")
        feature = data.features.get(parent)
        for name in path:
            feature = feature.get(name) if isinstance(feature, dict) else None
        if column not in data.column_names and path and feature is not None:
            data = data.add_column(column, [field(cell, path) for cell in data[parent]], feature=feature)
    return data


def _plain_types(data: Any, columns: Iterable[str]) -> Any:
    """The columns with one type for texts, one for lists and one for pictures, however a file stores them."""
    for column in dict.fromkeys(columns):
        if column in data.column_names:
            feature = data.features[column]
            plain = _plain_feature(feature)
            if plain != feature:
                data = data.cast_column(column, plain)
    return data


def _plain_feature(feature: Any) -> Any:
    import datasets

    if isinstance(feature, datasets.LargeList | datasets.List):
        return datasets.List(_plain_feature(feature.feature))
    if isinstance(feature, datasets.Value) and feature.dtype in ("large_string", "string_view"):
        return datasets.Value("string")
    if isinstance(feature, dict):
        kinds = {name: getattr(part, "dtype", None) for name, part in feature.items()}
        if set(kinds) == {"bytes", "path"} and kinds["bytes"] in BYTES:
            return datasets.Image()
        return {name: _plain_feature(part) for name, part in feature.items()}
    return (
        datasets.Image()
        if getattr(feature, "dtype", None) in BYTES and isinstance(feature, datasets.Value)
        else feature
    )


def _load(dataset: Dataset, split: str) -> Any:
    import datasets

    if dataset.path == embedded.NAME:
        loaded = datasets.load_dataset(str(embedded.DATA), split=split)
        return loaded.add_column(EMBEDDED_TEXT, [" ".join(words) for words in loaded["tokens"]])
    path, texts = Path(dataset.path).expanduser(), set(dataset.data_keys.values())
    if path.is_file():
        return read_file(path, split, texts)
    if beir.is_layout(path):
        if dataset.name is not None:
            raise mistake("dataset.name", f"{path} is a folder of the BEIR layout, which has no names; remove it")
        return beir.read(path, split)
    if path.is_dir():
        return read_folder(path, dataset.name, split, texts)
    _check_there(dataset)
    return _load_from_hub(dataset, split)


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


def _data_problem(dataset: Dataset, split: str, key: str, error: Exception) -> tuple[str, str]:
    text = str(error).strip()
    if "Unrecognized instruction format" in text or "Percent slice" in text:
        return key, f"{split!r} is no split: {first_line(error)}; give a name or a slice such as train[:80%]"
    if "Unknown split" in text or ("split" in text.lower() and isinstance(error, ValueError | KeyError)):
        known = text.partition("Should be one of ")[2].strip("[].").replace("'", "") or "see the data set's page"
        hint = f"; set {key}: {known}, or add a file for it" if known.isidentifier() else ""
        return key, f"{dataset.path!r} has no split {split!r}; there is: {known}{hint}"
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

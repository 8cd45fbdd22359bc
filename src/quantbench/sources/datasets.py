"""Data sets: splits of files, folders, repositories on the hub, or of the embedded default."""

from __future__ import annotations

import fnmatch
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
from quantbench.sources import beir, grouped, joined, repositories, retrieval_sets
from quantbench.sources.cells import field
from quantbench.sources.hub import hub_problem, mistake
from quantbench.sources.joined import Collection
from quantbench.sources.local import sliced
from quantbench.system.files import file_sha256

SHUFFLED = re.compile(r"(?P<name>\w+)\.shuffle\((?P<seed>\d+)\)(?P<part>\[.*\])?")
"""A split, or a slice of one, whose rows are put into another order by a seed before it is cut."""
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
        collection = _collection(dataset)
        loaded = _shuffled(dataset, split, collection)
        if collection is not None and len(loaded):
            loaded = joined.with_texts(collection, loaded, _named(split))
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
    return _as_read(dataset, loaded)


def split_names(dataset: Dataset) -> list[str]:
    """The splits that a data set has.

    Raises:
        BadInput: at ``dataset.path`` or ``dataset.name``, if there is no such data set or it cannot be read.

    """
    _silence()
    try:
        collection = _collection(dataset)
        return repositories.split_names(dataset) if collection is None else collection.splits()
    except BadInput:
        raise
    except Exception as error:
        raise mistake(*_data_problem(dataset, "", "dataset.path", error)) from error


def _silence() -> None:
    """No bars and no warnings of the libraries: what is wrong is told once, by whoever calls them."""
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    huggingface_hub.logging.set_verbosity_error()


def _collection(dataset: Dataset) -> Collection | None:
    """What holds queries, passages and judgments apart; None where a data set is a table."""
    folder = repositories.folder_of(dataset)
    found = beir.find(folder) if folder is not None else None
    if found is None:
        return retrieval_sets.find(dataset)
    if dataset.name is not None:
        raise mistake("dataset.name", f"{folder} is a folder of the BEIR layout, which has no names; remove it")
    return found


def _shuffled(dataset: Dataset, split: str, collection: Collection | None) -> Any:
    """A split, whose rows may be put into another order before it is cut."""
    asked = SHUFFLED.fullmatch(split.strip())
    if asked is None:
        return _rows(dataset, split, collection)
    name = asked["name"]
    whole = _rows(dataset, name, collection).shuffle(seed=int(asked["seed"]), keep_in_memory=True)
    return sliced({name: whole}, f"{name}{asked['part'] or ''}")


def _rows(dataset: Dataset, split: str, collection: Collection | None) -> Any:
    """A split or slices of splits, of which a row may be brought together of several before they are cut."""
    if collection is not None:
        return joined.read(collection, split)
    keys, refs = dataset.data_keys, dataset.ref_keys
    loaded = repositories.load(dataset, split)
    if not grouped.needed(_as_read(dataset, loaded), keys, refs):
        return loaded
    tables = {name: _as_read(dataset, repositories.load(dataset, name)) for name in _named(split)}
    return sliced({name: grouped.by_query(table, keys, refs) for name, table in tables.items()}, split)


def _named(split: str) -> list[str]:
    """The splits that an expression names."""
    asked = SHUFFLED.fullmatch(split.strip())
    return [asked["name"]] if asked else [part.partition("[")[0].strip() for part in split.split("+")]


def _as_read(dataset: Dataset, data: Any) -> Any:
    """The data with every column that is read as a column of its own, and of a plain type."""
    columns = (*dataset.data_keys.values(), *dataset.ref_keys)
    return _plain_types(_gathered(_with_fields(data, columns), columns), columns)


def _gathered(data: Any, columns: Iterable[str]) -> Any:
    """The data with a list of all columns that a name with an asterisk means, such as ``negative_*``."""
    import datasets

    for column in dict.fromkeys(columns):
        found = fnmatch.filter(data.column_names, column) if "*" in column else []
        if column not in data.column_names and found:
            plain = _plain_types(data.select_columns(found), found)
            cells = zip(*(plain[name][:] for name in found), strict=True)
            lists = [[cell for cell in row if cell is not None] for row in cells]
            data = data.add_column(column, lists, feature=datasets.List(plain.features[found[0]]))
    return data


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

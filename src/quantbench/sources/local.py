"""Data sets on this machine: files and folders of files, of which only those of the split that is asked for are read.

A folder's files belong to a split by a word in their path (``train``, ``validation`` or ``dev``, ``test``), as the
library ``datasets`` sorts them; without such a word all are ``train``. Folders with a configuration of their own
(``README.md`` with ``configs``) and folders of pictures are left to that library.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from quantbench.schema.base import digest
from quantbench.sources.cells import some
from quantbench.sources.conll_files import is_columns, read_columns
from quantbench.sources.csv_files import read_csv
from quantbench.sources.hub import mistake
from quantbench.sources.saved import read_saved, saved_splits
from quantbench.sources.squad_files import is_squad, read_squad
from quantbench.sources.text_files import read_lines, suffix_of

FORMATS = {
    ".parquet": "parquet",
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **dict.fromkeys((".csv", ".tsv", ".tab"), "table"),
    **dict.fromkeys((".conll", ".conllu", ".bio", ".iob", ".iob2"), "columns"),
    ".txt": "lines",
}
"""What files hold by their ending; what JSON and text really hold, :func:`kind_of` sees."""
ASIDE = ("readme", "license", "licence")
"""How names of text files begin that say something of the data beside them."""
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words in a file's path that say which split it is of."""
TABLES = (".xlsx", ".xls")
"""Endings of tables that are saved as CSV."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SHARD = re.compile(r"(?P<split>\w+)-\d{5}-of-\d{5}\..*")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAGIC = re.compile(r"[*?\[\]{}]")
"""Characters that would make a pattern of a path."""


def format_of(path: Path) -> str | None:
    """The format of a file by its ending, also in capitals and compressed; None if it is none that is read."""
    return FORMATS.get(suffix_of(path))


def kind_of(path: Path) -> str | None:
    """The format of a file by its ending and its beginning: JSON may be SQuAD's own, text may be in columns."""
    found = format_of(path)
    if found == "json":
        return "squad" if is_squad(path) else "json"
    return "columns" if found == "lines" and is_columns(path) else found


def read_file(path: Path, split: str, texts: Collection[str]) -> Any:
    """A file, whose only split is ``train``.

    Args:
        path: of the file.
        split: name or slice.
        texts: columns that hold texts whatever they look like.

    Raises:
        BadInput: if it cannot be read.

    """
    if format_of(path) is None:
        raise mistake("dataset.path", f"{path} {_what_else(path)}")
    if path.stat().st_size == 0:
        raise mistake("dataset.path", f"data file {path} is empty; give a file with examples")
    with path.open("rb") as file:
        if file.read(2) in UTF_16 and format_of(path) == "json":
            raise mistake("dataset.path", f"{path} is UTF-16; convert it: iconv -f utf-16 -t utf-8 {path.name}")
    return _read({"train": [path]}, split, texts)


def read_folder(folder: Path, name: str | None, split: str, texts: Collection[str]) -> Any:
    """A split of a folder; parameters and errors as of :func:`read_file`."""
    import datasets

    saved = saved_splits(folder)
    if saved is not None:
        return sliced({part: read_saved(saved[part]) for part in _wanted(split, saved)}, split)
    files = folder_splits(folder, name)
    if files is None:
        return datasets.load_dataset(str(folder), name, split=split, cache_dir=_kept_apart(folder))
    return _read(files, split, texts)


def _kept_apart(folder: Path) -> str | None:
    """Where the library is to keep what it reads of a folder with configurations; None where it knows by itself.

    It tells such folders by their last name and ``README.md`` alone (datasets 5.2, ``LocalDatasetModuleFactory``), and
    would give the rows that it has read before of another, or of this one before its files changed.
    """
    import datasets

    if not has_configurations(folder):
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stamps = [[str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    place = digest({"folder": str(folder.absolute()), "files": stamps})
    return str(Path(datasets.config.HF_DATASETS_CACHE) / "quantbench" / place)


def folder_splits(folder: Path, name: str | None) -> dict[str, list[Path]] | None:
    """The files of a folder by split; None where they are left to the library ``datasets``.

    Of a folder that ``save_to_disk`` wrote, the files are folders.

    Raises:
        BadInput: if the folder holds what is not read.

    """
    saved = saved_splits(folder)
    if saved is not None:
        if name is not None:
            raise mistake("dataset.name", f"{folder} was written by save_to_disk and has no configurations; remove it")
        return {split: [place] for split, place in saved.items()}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path.relative_to(folder))]
    readable = _data(files)
    pictures = any(path.suffix.lower() in PICTURES for path in files)
    if name is not None or not readable or pictures or has_configurations(folder):
        other = next((path for path in files if path.suffix.lower() in TABLES), None)
        if not readable and other is not None:
            raise mistake("dataset.path", f"{other} {_what_else(other)}")
        return None
    return splits_of(readable, folder)


def _data(files: Sequence[Path]) -> list[Path]:
    """The files that are read: texts only where there is nothing else."""
    found = [path for path in files if format_of(path) not in (None, "lines")]
    texts = [path for path in files if not path.name.lower().startswith(ASIDE)]
    return found or (texts if all(format_of(path) == "lines" for path in texts) else [])


def _what_else(path: Path) -> str:
    if path.suffix.lower() in TABLES:
        return "is a table of Excel; save it as CSV"
    return f"is none of {', '.join(FORMATS)}; convert it to one"


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def has_configurations(folder: Path) -> bool:
    """Whether a folder says in its ``README.md`` which of its files are of which configuration."""
    card = folder / "README.md"
    return card.is_file() and bool(re.search(r"^configs:", card.read_text(encoding="utf-8", errors="replace"), re.M))


def splits_of(files: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """Files by split; all are ``train`` where no path has a word that says otherwise."""
    found: dict[str, list[Path]] = {}
    for path in files:
        parts = path.relative_to(folder).parts
        shard = SHARD.fullmatch(parts[-1])
        tokens = {token for part in parts for token in re.split(r"[^a-zA-Z]+", part.lower())}
        named = [split for split, words in WORDS.items() if tokens & set(words)]
        split = named[0] if named else shard["split"] if shard else None
        if split is not None:
            found.setdefault(split, []).append(path)
    return found or {"train": list(files)}


def _wanted(split: str, known: Collection[str]) -> list[str]:
    """The splits that an expression names, of those that there are.

    Raises:
        ValueError: if it names none of them.

    """
    import datasets

    named = {part.partition("[")[0].strip() for part in split.split("+")}
    found = [name for name in known if name in named]
    if not found:
        datasets.ReadInstruction.from_spec(split)  # what is no split at all has a message of its own
        raise ValueError(f"Unknown split {split!r}. Should be one of [{', '.join(known)}].")
    return found


def _read(files: dict[str, list[Path]], split: str, texts: Collection[str]) -> Any:
    import datasets

    read = {name: files[name] for name in _wanted(split, files)}
    kinds = {kind_of(path) for paths in read.values() for path in paths}
    if len(kinds) > 1:
        names = some(sorted(path.name for paths in read.values() for path in paths))
        message = f"split {split!r} has files of several formats ({names}); give one file, or a folder of one format"
        raise mistake("dataset.path", message)
    kind = str(next(iter(kinds)))
    for paths in read.values():
        _same_columns(paths, kind == "parquet")
    if kind in ("parquet", "json"):
        return _by_library(kind, read, split)
    tables = {name: _table(kind, paths, texts) for name, paths in read.items()}
    return sliced(datasets.DatasetDict(tables), split)


def _table(kind: str, paths: Sequence[Path], texts: Collection[str]) -> Any:
    """Files of a format that is read here, as one ``datasets.Dataset``."""
    if kind == "table":
        return read_csv(paths, texts)
    return {"columns": read_columns, "squad": read_squad, "lines": read_lines}[kind](paths)


def sliced(tables: Any, split: str) -> Any:
    """A split, or slices of splits, of tables in memory."""
    import datasets

    lengths = {name: len(table) for name, table in tables.items()}
    parts = datasets.ReadInstruction.from_spec(split).to_absolute(lengths)
    chosen = [
        tables[part.splitname].select(range(part.from_ or 0, part.to or lengths[part.splitname])) for part in parts
    ]
    return chosen[0] if len(chosen) == 1 else datasets.concatenate_datasets(chosen)


def _same_columns(paths: Sequence[Path], parquet: bool) -> None:
    """Check that Parquet files of one split have the same columns."""
    if not parquet or len(paths) < 2:
        return
    import pyarrow.parquet

    names = [set(pyarrow.parquet.read_schema(path).names) for path in paths]
    for path, columns in zip(paths[1:], names[1:], strict=True):
        if columns != names[0]:
            message = f"{path} has other columns than {paths[0]} of the same split: {some(sorted(columns ^ names[0]))}"
            raise mistake("dataset.path", f"{message}; give files of equal columns")


def _by_library(kind: str, files: dict[str, list[Path]], split: str) -> Any:
    import datasets

    given = {name: [str(path.absolute()) for path in paths] for name, paths in files.items()}
    if not any(MAGIC.search(path) for paths in given.values() for path in paths):
        return datasets.load_dataset(kind, data_files=given, split=split)
    with tempfile.TemporaryDirectory() as place:  # paths are patterns to the library: these are read by other names
        for name, paths in given.items():
            for number, path in enumerate(paths):
                link = Path(place) / f"{name}-{number}{''.join(Path(path).suffixes[-2:]).lower()}"
                link.symlink_to(path)
                paths[number] = str(link)
        return datasets.load_dataset(
            kind, data_files=given, split=split, cache_dir=str(Path(place) / "cache"), keep_in_memory=True
        )

"""What a run needs that lies on this machine only, and what it brings back, as archives named by their content."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from quantbench import embedded
from quantbench.schema.settings import Settings
from quantbench.sources import adapters
from quantbench.system.writing import write_atomically

PARTS = "inputs"
"""Folder in a cache where inputs from elsewhere are unpacked, each under its hash."""


def local_inputs(settings: Settings, places: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Files and folders that the settings name, by the name that they have there; the embedded ones are everywhere.

    With an adapter goes the base that it names by a path. ``places`` says where those lie that are named by another
    path; see ``settings.Config``.
    """
    known = places or {}
    named = (settings.model_name_or_path, settings.dataset.path)
    paths = {name: Path(known.get(name, name)).expanduser() for name in named if name != embedded.NAME}
    there = {name: path for name, path in paths.items() if path.exists()}
    model = there.get(settings.model_name_or_path)
    return {**there, **(adapters.local_base(model) if model else {})}


def packed(path: Path) -> bytes:
    """A file or a folder as a tar archive; equal contents make equal archives."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                name = file.relative_to(path) if path.is_dir() else file.name
                entry = tarfile.TarInfo(str(name))
                entry.size = file.stat().st_size
                with file.open("rb") as content:
                    archive.addfile(entry, content)
    return buffer.getvalue()


@cache
def content_hash(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's or a folder's archive, computed once in a process."""
    return hashlib.sha256(packed(path)).hexdigest()


def unpack(archive: bytes, target: Path) -> None:
    """Write an archive's files below ``target``, each atomically; it may be compressed.

    What lies outside is found by tarfile's filter ``data``, which would however make absolute names relative; writing
    is not left to tarfile, which does not write atomically.

    Raises:
        ValueError: if an entry is no plain file below it.

    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for entry in opened.getmembers():
            if entry.isdir():
                continue
            try:
                tarfile.data_filter(entry, str(target))
                plain = entry.isfile() and not Path(entry.name).is_absolute()
            except tarfile.FilterError:
                plain = False
            if not plain:
                raise ValueError(f"archive entry {entry.name!r} is no plain file below its folder")
            content = opened.extractfile(entry)
            assert content is not None, "a plain file has content"
            write_atomically(target / entry.name, content.read())


def member(archive: bytes | None, name: str) -> bytes | None:
    """One file of an archive, which may be compressed; None if there is no archive or no such file in it."""
    if archive is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for entry in opened.getmembers():
            if entry.isfile() and Path(entry.name) == Path(name):
                content = opened.extractfile(entry)
                return content.read() if content is not None else None
    return None


def place(archive: bytes, is_folder: bool, at: Path) -> Path:
    """Unpack an input into the cache folder ``at``, once per content; where it then lies."""
    folder = at / PARTS / hashlib.sha256(archive).hexdigest()
    content, whole = folder / "content", folder / "whole"
    if not whole.exists():
        unpack(archive, content)
        write_atomically(whole, b"")
    return content if is_folder else next(content.iterdir())

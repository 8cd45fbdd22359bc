"""Folders of the BEIR layout: ``corpus.jsonl``, ``queries.jsonl`` and judgments in ``qrels``, a file for each split.

A split has a row for every query that its file judges passages for, in the order of that file (see ``joined``).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.sources.cells import CORPUS
from quantbench.sources.hub import mistake
from quantbench.sources.joined import QUERIES, Judgment, add_text

QRELS = "qrels"
ENDINGS = (".jsonl", ".jsonl.gz")
JUDGMENTS = (".tsv", ".jsonl")
FIELDS = ("query-id", "corpus-id", "score")


def find(folder: Path) -> Folder | None:
    """The folder's collection; None if it is not of this layout."""
    found = Folder(folder)
    return found if found.file(CORPUS) and found.file(QUERIES) and found.splits() else None


@dataclass(frozen=True)
class Folder:
    """A folder of this layout; see ``joined.Collection``."""

    place: Path

    def file(self, part: str) -> Path | None:
        """The file of queries or passages."""
        files = (self.place / f"{part}{ending}" for ending in ENDINGS)
        return next((file for file in files if file.is_file()), None)

    def splits(self) -> list[str]:
        """The names of its files of judgments."""
        return list(self._judgments())

    def named(self, part: str) -> str:
        """The file's name."""
        return f"{part}.jsonl"

    def texts(self, part: str, splits: Sequence[str]) -> dict[str, str]:
        """Texts by id, which are the same for all splits."""
        file = self.file(part)
        assert file is not None, "a folder of this layout has it"
        found: dict[str, str] = {}
        for number, row in _json_lines(file):
            add_text(found, row.get("_id"), row, f"line {number} of {file}")
        return found

    def judgments(self, split: str) -> Iterator[Judgment]:
        """What a file judges; a first line without a number is a header."""
        file = self._judgments()[split]
        lines = _json_lines(file) if file.suffix == ".jsonl" else _tab_lines(file)
        for number, row in lines:
            cells = [str(row.get(field, "")).strip() for field in FIELDS]
            try:
                yield Judgment(f"line {number} of {file}", cells[0], cells[1], int(cells[2]))
            except ValueError:
                if number == 1 and file.suffix == ".tsv":
                    continue
                message = f"line {number} of {file} is no judgment: {' '.join(cells)!r}"
                how = "write query-id, corpus-id and a whole number, with tabs between them"
                raise mistake("dataset.path", f"{message}; {how}") from None

    def candidates(self, split: str) -> Mapping[str, Sequence[str]]:
        """None: the layout has no first stage."""
        return {}

    def _judgments(self) -> dict[str, Path]:
        """The files of judgments by split."""
        place = self.place / QRELS
        found = sorted(place.iterdir()) if place.is_dir() else []
        return {path.stem: path for path in found if path.suffix in JUDGMENTS and not path.name.startswith(".")}


def _tab_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_open(file), start=1):
        if line.strip():
            yield number, dict(zip(FIELDS, line.rstrip("\n").split("\t"), strict=False))


def _json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_open(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise mistake("dataset.path", f"line {number} of {file} is no JSON object; mend it")
        yield number, row


def _open(file: Path) -> Iterator[str]:
    """The lines of a file, which may be compressed."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as data:
        for number, line in enumerate(data, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise mistake("dataset.path", f"line {number} of {file} is not UTF-8; convert it") from None

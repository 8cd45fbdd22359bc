"""Files of text, compressed or not, as text without a mark."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantbench.sources.hub import mistake

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encodings by the first bytes of a file."""
HEAD = 1 << 20
"""Characters of the beginning of a file."""


def suffix_of(path: Path) -> str:
    """The ending of a file in lower case, without that of its compression; empty where there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def read_text(path: Path) -> str:
    """All of a file, which is UTF-8, or UTF-16 with its mark.

    Raises:
        BadInput: at ``dataset.path``, if it is not.

    """
    with _opened(path) as file:
        data = file.read()
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"{path} is not UTF-8 (byte 0x{data[error.start]:02x} in line {line})"
        raise mistake("dataset.path", f"{message}; convert it, e.g. iconv -f latin1 -t utf-8 {path.name}") from None
    if "\0" in text:
        message = f"{path} has bytes of zero, as UTF-16 without its mark has, or a file of another kind"
        raise mistake("dataset.path", f"{message}; convert it, e.g. iconv -f utf-16le -t utf-8 {path.name}")
    return text


def head_of(path: Path) -> str:
    """The beginning of a file, to see of which kind it is; what is no UTF-8 in it is left out."""
    with _opened(path) as file:
        return str(file.read(HEAD).decode("utf-8-sig", errors="ignore"))


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def read_lines(paths: Sequence[Path]) -> Any:
    """Files of a text a line as one ``datasets.Dataset`` with the column ``text``; empty lines are no texts.

    Raises:
        BadInput: if every line has a tab, so that a file is rather a table without its ending.

    """
    import datasets

    texts: list[str] = []
    for path in paths:
        lines = [line.rstrip("\r\n") for line in io.StringIO(read_text(path)) if line.strip()]
        if lines and all("\t" in line for line in lines):
            how = "call a table with a header .tsv, a file of columns .conll"
            raise mistake("dataset.path", f"{path} has a tab in every line and is no text a line; {how}")
        texts += lines
    return datasets.Dataset.from_dict({"text": texts})

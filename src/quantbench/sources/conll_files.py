"""Files of columns as the shared tasks of CoNLL have them: a word a line, what is said of it beside it.

Columns are apart by tabs, or else by blanks. Sentences end at empty lines; lines that begin with ``-DOCSTART-`` part
documents and are no words. A line that begins with # and has not as many columns as the words is a comment.

The words become the column ``tokens``, the last column becomes ``tags``, those between are called ``column_2`` and so
on, by their place in the file from 1. Where the first column only numbers the words, these stand in the second.
CoNLL-U (https://universaldependencies.org/format.html) has the names of its ten columns, its words are ``tokens``, and
its ranges (``1-2``) and empty nodes (``1.1``) are no words.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from quantbench.sources.cells import some
from quantbench.sources.hub import mistake
from quantbench.sources.text_files import head_of, read_text, suffix_of

WORDS, TAGS = "tokens", "tags"
UNIVERSAL = ("id", WORDS, "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""Columns of CoNLL-U."""
NO_WORD = re.compile(r"\d+[-.]\d+")
"""First cells of CoNLL-U that stand for no word."""
DOCUMENT = "-DOCSTART-"
BLOCK = 10_000
"""Sentences that are held as lists at once."""


@dataclass(frozen=True)
class Form:
    """Whether columns are apart by tabs, and how many there are."""

    tabs: bool
    width: int

    def cells(self, line: str) -> list[str]:
        """What a line without its end holds, without blanks around it; other blanks of Unicode are parts of words."""
        if not self.tabs:
            return [cell for cell in line.replace("\t", " ").split(" ") if cell]
        cells = line.split("\t")
        return [cell.strip(" ") for cell in cells] if " " in line else cells


def is_columns(path: Path) -> bool:
    """Whether a file of any ending looks like columns: two or more, on all of its lines, with empty lines between."""
    lines = list(_lines(head_of(path)))
    form = _form(lines)
    words = [line for line in lines[:-1] if line.strip() and not line.startswith(("#", DOCUMENT))]
    even = all(len(form.cells(line)) == form.width for line in words)
    return form.width > 1 and even and any(not line.strip() for line in lines[:-1])


def read_columns(paths: Sequence[Path]) -> Any:
    """Files of equal columns as one ``datasets.Dataset`` of lists of texts, a sentence a row.

    Raises:
        BadInput: if a line has other columns than the first, or files differ in their columns.

    """
    import datasets
    import pyarrow

    tables = [_table(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.column_names != tables[0].column_names:
            differ = some(sorted(set(table.column_names) ^ set(tables[0].column_names)))
            message = f"{path} has other columns than {paths[0]} of the same split: {differ}"
            raise mistake("dataset.path", f"{message}; give files of equal columns")
    return datasets.Dataset(pyarrow.concat_tables(tables))


def _table(path: Path) -> Any:
    import pyarrow

    sentences = _sentences(path)
    first = list(islice(sentences, BLOCK))
    if not first:
        raise mistake("dataset.path", f"{path} has no words; give a file with a word a line")
    universal = suffix_of(path) == ".conllu" and len(first[0][0]) == len(UNIVERSAL)
    names = UNIVERSAL if universal else _names(first)
    blocks, block = [], first
    while block:
        blocks.append(_block([_words(sentence) for sentence in block] if universal else block, names))
        block = list(islice(sentences, BLOCK))
    return pyarrow.concat_tables(blocks)


def _words(sentence: Sequence[list[str]]) -> list[list[str]]:
    """What are words in CoNLL-U."""
    return [row for row in sentence if not NO_WORD.fullmatch(row[0])]


def _block(sentences: Sequence[Sequence[Sequence[str]]], names: Sequence[str]) -> Any:
    """Sentences as a table with a row for each."""
    import pyarrow

    ends = pyarrow.array([0, *accumulate(map(len, sentences))], pyarrow.int32())
    flat = ([row[place] for sentence in sentences for row in sentence] for place in range(len(names)))
    return pyarrow.table(
        {
            name: pyarrow.ListArray.from_arrays(ends, pyarrow.array(cells, pyarrow.string()))
            for name, cells in zip(names, flat, strict=True)
        }
    )


def _names(sentences: Sequence[Sequence[Sequence[str]]]) -> tuple[str, ...]:
    """Names of columns: words in the first, or in the second behind their numbers, tags in the last."""
    width = len(sentences[0][0])
    numbered = width > 2 and all(_counts([row[0] for row in sentence]) for sentence in sentences)
    names = [f"column_{place}" for place in range(1, width + 1)]
    names[numbered] = WORDS
    if width > 1:
        names[-1] = TAGS
    return tuple(names)


def _counts(cells: list[str]) -> bool:
    """Whether cells are 1, 2, 3 and so on, or begin with 0."""
    return cells in tuple([str(number) for number in range(start, start + len(cells))] for start in (0, 1))


def _sentences(path: Path) -> Iterator[list[list[str]]]:
    """The cells of the words of each sentence.

    Raises:
        BadInput: at the first line that has not as many cells as the first word.

    """
    form = _form(list(_lines(head_of(path))))
    sentence: list[list[str]] = []
    for number, line in enumerate(_lines(read_text(path)), start=1):
        if not line.strip():
            if sentence:
                yield sentence
            sentence = []
            continue
        cells = form.cells(line)
        if cells[0] == DOCUMENT or (line.startswith("#") and len(cells) != form.width):
            continue
        if len(cells) != form.width:
            message = f"line {number} has {len(cells)} columns, the first word has {form.width}"
            raise mistake("dataset.path", f"{path}: {message}; give every word the same columns")
        sentence.append(cells)
    if sentence:
        yield sentence


def _lines(text: str) -> Iterator[str]:
    """Lines without their ends; only line feeds end them."""
    return (line.rstrip("\r\n") for line in io.StringIO(text))


def _form(lines: Sequence[str]) -> Form:
    """How a file is written that begins with these lines."""
    there = [line for line in lines if line.strip() and not line.startswith(DOCUMENT)]
    first = next((line for line in there if not line.startswith("#")), next(iter(there), ""))
    form = Form("\t" in first.strip(), 0)
    return replace(form, width=len(form.cells(first)))

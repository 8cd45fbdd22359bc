"""SQuAD's own JSON, version 1.1 and 2.0: questions below paragraphs below titles, made a row per question.

A question without an answer (version 2.0) has empty answers, as ``datasets`` has it; one whose answers are not given,
as in files for a test, has none. ``plausible_answers`` are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from quantbench.sources.hub import mistake
from quantbench.sources.text_files import head_of, read_text

BEGINS = re.compile(r'\s*\{[^{]*"data"\s*:\s*\[\s*\{[^{]*"paragraphs"\s*:\s*\[')
"""How a JSON file of this form begins."""
BLOCK = 10_000
"""Questions that are held as rows at once."""
FORM = 'its form is {"data": [{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": […]}]}]}]}'


def is_squad(path: Path) -> bool:
    """Whether a JSON file has this form."""
    return BEGINS.match(head_of(path)) is not None


def read_squad(paths: Sequence[Path]) -> Any:
    """Files as one ``datasets.Dataset``: id, title, context, question and answers (text and answer_start).

    Raises:
        BadInput: if something is missing in a file, or a question is said to have no answer and has some.

    """
    import datasets
    import pyarrow

    texts = [(name, pyarrow.string()) for name in ("id", "title", "context", "question")]
    lists = [("text", pyarrow.list_(pyarrow.string())), ("answer_start", pyarrow.list_(pyarrow.int64()))]
    schema = pyarrow.schema([*texts, ("answers", pyarrow.struct(lists))])
    tables, block = [], []
    for row in chain.from_iterable(map(_rows, paths)):
        block.append(row)
        if len(block) == BLOCK:
            tables.append(pyarrow.Table.from_pylist(block, schema))
            block = []
    return datasets.Dataset(pyarrow.concat_tables([*tables, pyarrow.Table.from_pylist(block, schema)]))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        articles = json.loads(read_text(path))["data"]
    except ValueError as error:
        raise mistake("dataset.path", f"{path} is no JSON: {error}; mend or replace it") from error
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph.get("qas", ()):
                yield {"title": article.get("title"), **_row(path, paragraph, question)}


def _row(path: Path, paragraph: Mapping[str, Any], question: Mapping[str, Any]) -> dict[str, Any]:
    name = str(question.get("id", ""))
    try:
        row = {"id": name, "context": paragraph["context"], "question": question["question"]}
        answers = _answers(question)
    except KeyError as error:
        raise mistake("dataset.path", f"{path}: question {name!r} lacks {error}; {FORM}") from error
    if question.get("is_impossible") and answers and answers["text"]:
        message = f"{path}: question {name!r} is said to be impossible and has answers; take out one of both"
        raise mistake("dataset.path", message)
    return {**row, "answers": answers}


def _answers(question: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Answers in columns; None where they are not given."""
    given = question.get("answers")
    if given is None:
        return {"text": [], "answer_start": []} if question.get("is_impossible") else None
    return {name: [answer[name] for answer in given] for name in ("text", "answer_start")}

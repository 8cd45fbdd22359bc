"""The script beside a deployed model: examples from the command line or a file, answers as the model was scored."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from .batches import groups

SERVING = "serving.json"
SCRIPT = "infer.py"
EXIT_DONE, EXIT_BAD_INPUT = 0, 2
STDIN = "-"
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Everything lies in the folder, and only answers are wanted."""


class BadExample(Exception):
    """What cannot be answered, in one line."""


@dataclass(frozen=True)
class Served:
    """A deployed model.

    Attributes:
        folder: where it lies.
        about: what ``serving.json`` says.
        task: the task's file, see ``protocols.ServedTask``.

    """

    folder: Path
    about: Mapping[str, Any]
    task: Any

    @property
    def fields(self) -> tuple[str, ...]:
        """What every example has."""
        return tuple(self.task.fields(self.about["args"]))

    def processor(self) -> Any:
        """The tokenizer or image processor that the model was scored with."""
        return _part(self.about["processor"]).load(self.folder, self.about["facts"])

    def answer(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> list[dict[str, Any]]:
        """Answers to rows in their order, by batches as they were scored in."""
        if not rows:
            return []
        about, task = self.about, self.task
        encoded = task.encode(rows, processor, about["args"])
        path = str(self.folder / about["model"])
        session = _part(about["runtime"]).load(path, about["options"], about["threads"])
        predictions: dict[int, Sequence[float]] = {}
        shares: dict[int, Sequence[float]] = {}
        for group in groups(encoded.costs, about["batch_size"]):
            outputs = session.predict(processor.collate([encoded.inputs[index] for index in group]))
            for row, index in enumerate(group):
                predictions[index] = task.decode(outputs, row, encoded, index)
                shares[index] = task.certainty(outputs, row, encoded, index)
        order = range(len(predictions))
        found: list[dict[str, Any]] = task.answers(
            encoded, [predictions[index] for index in order], [shares[index] for index in order], about["args"]
        )
        return found


def _part(name: str) -> Any:
    return import_module(f".{name}", __package__)


def read(folder: Path) -> Served:
    """The model in a folder."""
    about = json.loads((folder / SERVING).read_text(encoding="utf-8"))
    return Served(folder, about, _part(about["task"]))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message}\n")


def _parser(served: Served) -> argparse.ArgumentParser:
    keys = ", ".join(f'"{name}": …' for name in served.fields)
    names = " ".join(name.upper() for name in served.fields)
    about = served.about
    size = about["batch_size"]
    told = (
        f"Answers are those that were scored, in batches of {size}. "
        if size
        else "Answers are those that were scored. "
    )
    limit = about["facts"].get("limit")
    cut = f"What lies behind {limit} tokens is cut off, as it was then. " if limit and "context" not in names else ""
    parser = _Parser(
        prog=SCRIPT,
        usage=f"{SCRIPT} {names} [{names} …] | {SCRIPT} --jsonl FILE",
        description=f"Runs {about['model']} of this folder ({about['task'].replace('_', '-')}). {told}{cut}",
        epilog=f"Needs transformers and {', '.join(about['libraries'])}: pip install transformers "
        f"{' '.join(about['libraries'])}",
    )
    parser.add_argument("examples", nargs="*", metavar=names, help=served.task.USAGE)
    parser.add_argument(
        "--jsonl",
        metavar="FILE",
        help=f"a file of JSON objects, one per line, such as {{{keys}}}; - reads standard input. "
        "Answers are JSON objects, one per line, in the same order",
    )
    return parser


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")  # whatever the locale says
    served = read(folder)
    parser = _parser(served)
    given = parser.parse_args(arguments)
    if given.jsonl is None and not given.examples:
        parser.print_usage(sys.stderr)
        return EXIT_BAD_INPUT
    try:
        if given.jsonl is not None and given.examples:
            raise BadExample("give examples, or --jsonl, not both")
        rows = _arguments(served, given.examples) if given.jsonl is None else _lines(served, given.jsonl)
        processor = served.processor()
        for number, row in enumerate(rows, start=1):
            _check(row, number, served, processor)
        answers = served.answer(rows, processor)
    except (BadExample, ValueError, OSError) as error:
        print(f"{SCRIPT}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except ImportError as error:
        print(f"{SCRIPT}: {error}; {parser.epilog}", file=sys.stderr)
        return EXIT_BAD_INPUT
    for row, answer in zip(rows, answers, strict=True):
        print(json.dumps(answer, ensure_ascii=False) if given.jsonl else served.task.show(answer, row))
    return EXIT_DONE


def _arguments(served: Served, examples: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the command line, each of as many arguments as an example has fields."""
    fields = served.fields
    if len(examples) % len(fields):
        raise BadExample(
            f"an example is {len(fields)} arguments, {' and '.join(fields)}; there are {len(examples)} in all"
        )
    starts = range(0, len(examples), len(fields))
    return [dict(zip(fields, examples[start : start + len(fields)], strict=True)) for start in starts]


def _lines(served: Served, file: str) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines; a field may go by the name that its column had where the model was scored."""
    data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    columns = {column: field for field, column in served.about["columns"].items()}
    rows = []
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise BadExample(f"line {number} of {file} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise BadExample(f"line {number} of {file} is no JSON object")
        row: dict[str, Any] = {str(columns.get(name, name)): value for name, value in found.items()} | found
        missing = [name for name in served.fields if name not in row]
        if missing:
            raise BadExample(f"line {number} of {file} has no {missing[0]!r}; it has {', '.join(found) or 'nothing'}")
        rows.append(row)
    return rows


def _check(row: Mapping[str, Any], number: int, served: Served, processor: Any) -> None:
    optional = [name for name in served.task.OPTIONAL if name in row]
    for name in (*served.fields, *optional):
        problem = processor.problem(row[name])
        if problem:
            raise BadExample(f"example {number}: {name} {problem}")

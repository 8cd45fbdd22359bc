"""The script beside a deployed model: examples from the command line or a file, answers as the model was scored."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from .batches import groups

SERVING = "serving.json"
SCRIPT = "infer.py"
EXIT_DONE, EXIT_BAD_INPUT = 0, 2
STDIN = "-"
EMBEDDING, SENTENCES = "feature_extraction", "sentences"
"""The files by which a text is embedded by itself."""
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
    _loaded: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def fields(self) -> tuple[str, ...]:
        """What every example has."""
        return tuple(self.task.fields(self.about["args"]))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a text may be that is embedded by itself; none where the model embeds nothing."""
        args = self.about["args"]
        return tuple(_part(EMBEDDING).prompts(args)) if "steps" in args else ()

    def processor(self) -> Any:
        """The tokenizer or image processor that the model was scored with."""
        name = self.about["processor"]
        return self._once(name, lambda: _part(name).load(self.folder, self.about["facts"]))

    def answer(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> list[dict[str, Any]]:
        """Answers to rows in their order, by batches as they were scored in."""
        if not rows:
            return []
        about, task = self.about, self.task
        encoded = task.encode(rows, processor, about["args"])
        path, runtime = str(self.folder / about["model"]), about["runtime"]
        session = self._once(runtime, lambda: _part(runtime).load(path, about["options"], about["threads"]))
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

    def encode(self, texts: Sequence[str], prompt: str | None = None) -> Any:
        """Embeddings of texts of one kind, as they were scored.

        Args:
            texts: without any prompt.
            prompt: the kind, ``query`` or ``passage``, which says what is put before them; None where all are alike.

        Returns:
            A NumPy array of shape (texts, numbers).

        Raises:
            ValueError: if the model does not embed texts of this kind, or one leaves nothing to embed.

        """
        import numpy as np

        if prompt is None and len(self.kinds) == 1:
            prompt = self.kinds[0]
        if prompt not in self.kinds:
            known = ", ".join(self.kinds)
            message = f"prompt is {prompt!r}, and it must be one of {known}" if known else "this model embeds no texts"
            raise ValueError(message)
        served = self.of_kind(prompt)
        answers = served.answer([{"primary": text} for text in texts], served.processor())
        return np.asarray([answer["embedding"] for answer in answers])

    def of_kind(self, kind: str) -> Served:
        """The same model for texts of one of :attr:`kinds`, each by itself."""
        embedding, args = _part(EMBEDDING), self.about["args"]
        own = {"steps": args["steps"], "prompt": embedding.prompts(args)[kind], "states": args.get("states", 0)}
        part = {"task": EMBEDDING, "processor": SENTENCES, "columns": {"primary": embedding.TEXT}, "args": own}
        return replace(self, about={**self.about, **part}, task=embedding)

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        """What is loaded once, also where texts of several kinds are embedded."""
        if name not in self._loaded:
            self._loaded[name] = load()
        return self._loaded[name]


def _part(name: str) -> Any:
    return import_module(f".{name}", __package__)


def read(folder: str | Path) -> Served:
    """The model in a folder."""
    place = Path(folder)
    about = json.loads((place / SERVING).read_text(encoding="utf-8"))
    return Served(place, about, _part(about["task"]))


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
    if len(served.kinds) > 1:
        parser.add_argument(
            "--prompt",
            choices=served.kinds,
            help="embed texts by themselves, with what stands before texts of this kind; in a file, "
            '{"text": …} gives {"embedding": …}',
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
    served = served.of_kind(given.prompt) if getattr(given, "prompt", None) else served
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

"""YAML with the line of every key; mistakes of syntax and of type as one clear message.

The lines come from PyYAML's node graph, which has them. ruamel.yaml would keep them, too, but reads YAML 1.2, in which
``yes`` is a word and ``1e-3`` a number: files that were written for this reader would change their meaning.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic_core import ErrorDetails

from quantbench.errors import BadInput, Mistake

MAX_POSITIONS = 100_000
"""Keys and items of one file; aliases inside of aliases would multiply beyond any memory."""
MAX_SHOWN = 100
MERGE_TAG = "tag:yaml.org,2002:merge"


class Document(NamedTuple):
    """A file as plain data, ``file:line`` of every key and item by its dotted path, and mistakes that can be passed."""

    data: dict[str, Any]
    lines: dict[str, str]
    mistakes: list[Mistake]


def read_yaml(path: Path) -> Document:
    """Read a YAML mapping. Repeated keys are among the document's mistakes, the last value counts.

    Raises:
        BadInput: if the file cannot be read, is not YAML or is no mapping.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadInput([Mistake(str(path), _unreadable(error))]) from error
    lines: dict[str, str] = {}
    repeated: list[Mistake] = []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            raise BadInput([Mistake(f"{path}:1", "must be a YAML mapping such as 'task: token-classification'")])
        _Walk(path, lines, repeated).visit(root, "", ())
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput([_syntax_mistake(path, text, error)]) from error
    except (ValueError, RecursionError) as error:
        raise BadInput([Mistake(str(path), f"not valid YAML: {_first_line(error)}")]) from error
    return Document(data, lines, repeated)


def parse_value(text: str) -> Any:
    """A value as it would stand in YAML: ``3`` is a number, ``[a, b]`` a list, ``null`` nothing.

    Raises:
        ValueError: if it is not YAML.

    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(getattr(error, "problem", None) or _first_line(error)) from error


def not_plain(value: Any, key: str = "") -> list[tuple[str, str, str]]:
    """What YAML can express and a result in JSON cannot.

    Returns:
        Dotted key of the value to leave out, dotted key of where it stands, what is wrong.

    """
    if isinstance(value, dict):
        named = [(f"{key}.{name}" if key else str(name), name, item) for name, item in value.items()]
        odd = [(key or place, place, name) for place, name, _ in named if not isinstance(name, str)]
        found = [
            (bad, place, f"as a key is no text but {type(name).__name__}; write it in quotes")
            for bad, place, name in odd
        ]
        children = [(place, item) for place, name, item in named if isinstance(name, str)]
    elif isinstance(value, list):
        found, children = [], [(f"{key}.{index}", item) for index, item in enumerate(value)]
    else:
        problem = _scalar_problem(value)
        return [(key, key, problem)] if problem else []
    return found + [problem for name, item in children for problem in not_plain(item, name)]


def _scalar_problem(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}; must be a finite number"
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        return f"is {value!a}; half of a surrogate pair is no character"
    if value is None or isinstance(value, str | bool | int | float):
        return None
    return f"is a {type(value).__name__} in YAML ({value}); write it in quotes if it is text"


WANTED = {
    "tuple_type": "a list, such as [a, b]",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of parameters to values",
    "model_attributes_type": "a mapping of parameters to values",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
}
"""What a value must be, by the type of pydantic's error."""


def shown(value: Any) -> str:
    """A value as it may stand in YAML, cut if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def wrong_value(detail: ErrorDetails) -> str:
    """What is wrong with a value, as a sentence that follows its key."""
    kind, value = detail["type"], detail["input"]
    if kind in ("too_short", "string_too_short"):
        return f"is empty; must have at least one {'value' if kind == 'too_short' else 'character'}"
    if kind in WANTED:
        hint = "; put it in quotes" if kind == "string_type" and isinstance(value, bool | int | float) else ""
        return f"is {shown(value)}; must be {WANTED[kind]}{hint}"
    if kind == "literal_error":
        return f"is {shown(value)}; must be {detail['ctx']['expected']}"
    return f"is {shown(value)}; {detail['msg'].replace('Input should', 'must')}"


def _unreadable(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist; give the path of a YAML file"
    if isinstance(error, UnicodeDecodeError):
        return "is not text in UTF-8; give the path of a YAML file"
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _syntax_mistake(path: Path, text: str, error: yaml.YAMLError) -> Mistake:
    mark = getattr(error, "problem_mark", None)
    position = getattr(error, "position", None)
    if mark is not None:
        where = f"{path}:{mark.line + 1}"
    elif isinstance(position, int):
        where = f"{path}:{text.count(chr(10), 0, position) + 1}"
    else:
        where = str(path)
    problem = getattr(error, "problem", None) or _first_line(error)
    return Mistake(where, f"not valid YAML: {problem}; check quotes, colons and indentation here")


class _Walk:
    """Notes the line of every key and item of a document, and the keys that are repeated."""

    def __init__(self, path: Path, lines: dict[str, str], repeated: list[Mistake]) -> None:
        self.path = path
        self.lines = lines
        self.repeated = repeated

    def visit(self, node: yaml.Node, prefix: str, above: tuple[int, ...], merged: bool = False) -> None:
        """Note everything below ``node``; ``above`` are the nodes that it stands in, ``merged`` came by ``<<``."""
        if id(node) in above:
            raise BadInput([Mistake(self._at(node), "the anchor refers to itself; write the value out")])
        if len(self.lines) > MAX_POSITIONS:
            raise BadInput([Mistake(self._at(node), f"more than {MAX_POSITIONS:,} keys and items; remove aliases")])
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, prefix, above, merged)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                if not merged:
                    self.lines[f"{prefix}.{index}"] = self._at(item)
                self.visit(item, prefix if merged else f"{prefix}.{index}", above, merged)

    def _mapping(self, node: yaml.MappingNode, prefix: str, above: tuple[int, ...], merged: bool) -> None:
        own: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.tag == MERGE_TAG:
                self.visit(value_node, prefix, above, merged=True)
                continue
            key = f"{prefix}.{key_node.value}" if prefix else str(key_node.value)
            where = self._at(key_node)
            if key in own:
                first = self.lines[key]
                self.repeated.append(Mistake(where, f"{key} is set twice (first at {first}); keep one of them"))
            elif not merged or key not in self.lines:
                self.lines[key] = where
            own.add(key)
            self.visit(value_node, key, above)

    def _at(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"

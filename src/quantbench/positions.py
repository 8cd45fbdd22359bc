"""YAML with the line of every key, and mistakes of syntax as one clear message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from quantbench.errors import BadInput, Mistake


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a YAML mapping.

    Returns:
        The plain data, and ``file:line`` of every key and list item by its dotted path (items by index).

    Raises:
        BadInput: if the file cannot be read, is not YAML, is no mapping or repeats a key.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput([Mistake(str(path), f"cannot be read: {_reason(error)}")]) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput([_syntax_mistake(path, error)]) from error
    if not isinstance(root, yaml.MappingNode):
        raise BadInput([Mistake(f"{path}:1", "must be a YAML mapping such as 'task: token-classification'")])
    lines: dict[str, str] = {}
    repeated: list[Mistake] = []
    _walk(root, "", path, lines, repeated)
    if repeated:
        raise BadInput(repeated)
    return data, lines


def parse_value(text: str) -> Any:
    """A value as it would stand in YAML: ``3`` is a number, ``[a, b]`` a list, ``null`` nothing."""
    return yaml.safe_load(text)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _syntax_mistake(path: Path, error: yaml.YAMLError) -> Mistake:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    problem = getattr(error, "problem", None) or str(error)
    return Mistake(where, f"not valid YAML: {problem}; check quotes, colons and indentation here")


def _walk(node: yaml.Node, prefix: str, path: Path, lines: dict[str, str], repeated: list[Mistake]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = f"{prefix}.{key_node.value}" if prefix else str(key_node.value)
            where = f"{path}:{key_node.start_mark.line + 1}"
            if key in lines:
                repeated.append(Mistake(where, f"{key} is set twice (first at {lines[key]}); keep one of them"))
            lines.setdefault(key, where)
            _walk(value_node, key, path, lines, repeated)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            key = f"{prefix}.{index}"
            lines[key] = f"{path}:{item.start_mark.line + 1}"
            _walk(item, key, path, lines, repeated)

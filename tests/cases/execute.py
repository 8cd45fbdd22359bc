"""Running a case and holding what came of it against what is right."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tests.cases
import torch
import yaml
from tests.cases.case import CASES, DEFAULTS, Answer, Case, Failed, Refused, Registered, Right

import quantbench as qb
from quantbench.config.load import load_config
from quantbench.errors import BadInput
from quantbench.results.store import Store
from quantbench.schema.results import Result

NOT_CASES = ("case", "execute", "test_cases", "__main__")


def all_cases() -> list[Registered]:
    """Every case of the folder, by module and in the order in which they stand there."""
    for module in pkgutil.iter_modules(tests.cases.__path__):
        if module.name not in NOT_CASES:
            importlib.import_module(f"tests.cases.{module.name}")
    return sorted(CASES.values(), key=lambda registered: registered.module)


def execute(registered: Registered, folder: Path) -> str:
    """Run a case in a folder; what came of it, in a few words.

    Raises:
        AssertionError: if that is not what is right.

    """
    torch.manual_seed(0)
    made = registered.make(folder)
    if isinstance(made, Answer):
        right = made.right
        if _numbers(right):
            right = pytest.approx(right, rel=made.tolerance, abs=made.tolerance)
        assert made.got == right
        return made.told
    file, out = folder / "run.yaml", folder / "out"
    file.write_text(yaml.safe_dump({**DEFAULTS, **made.settings}, sort_keys=False), encoding="utf-8")
    try:
        qb.run(load_config(file), out=out)
    except BadInput as error:
        return _refused(made, error, file, out)
    assert not isinstance(made.right, Refused), (
        f"ran instead of being refused: {_told(Store(out).results(), made.right)}"
    )
    return _finished(made, Store(out).results())


def _numbers(value: Any) -> bool:
    values = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    return all(isinstance(item, int | float) and not isinstance(item, bool) for item in values)


def _refused(made: Case, error: BadInput, file: Path, out: Path) -> str:
    right = made.right
    assert isinstance(right, Refused), f"refused: {error}"
    assert not out.exists(), "something was written"
    told = [mistake for mistake in error.mistakes if all(text in mistake.message for text in right.says)]
    assert told, f"{right} expected, got: {error}"
    lines, key = file.read_text(encoding="utf-8").splitlines(), right.key.rpartition(".")[2]
    if told[0].where == str(file):  # what is not set has no line
        assert not any(line.lstrip("- ").startswith(f"{key}:") for line in lines), "no line"
        return _refusal(told[0].message)
    name, _, number = told[0].where.rpartition(":")
    assert Path(name) == file, f"at {told[0].where}"
    assert lines[int(number) - 1].lstrip("- ").startswith(f"{key}:"), f"at {told[0].where}"
    return _refusal(told[0].message)


def _refusal(message: str) -> str:
    """The message without the name of what cannot be used, which is the case's own."""
    return f"refused: {message.rpartition('cannot be used: ')[2]}"


def _finished(made: Case, results: Sequence[Result]) -> str:
    right = made.right
    for result in results:
        if isinstance(right, Failed):
            assert result.failure is not None, f"did not fail: {_told(results, right)}"
            assert all(text in result.failure.reason for text in right.says), result.failure.reason
            continue
        assert isinstance(right, Right)
        assert result.failure is None, result.failure
        _scored(right, result)
    return _told(results, right)


def _scored(right: Right, result: Result) -> None:
    notes = "\n".join(result.notes)
    for text in right.notes:
        assert text in notes, f"{text!r} is not in the notes: {notes or 'there are none'}"
    assert not (right.quiet and result.notes), notes
    scores = result.scores[right.arm]
    assert {name: scores.metrics[name] for name in right.metrics} == pytest.approx(
        dict(right.metrics), abs=right.tolerance
    )
    if right.examples is not None:
        assert scores.examples == right.examples


def _told(results: Sequence[Result], right: Right | Refused | Failed) -> str:
    """What came out, that which is held first."""
    if results[0].failure is not None:
        return f"failed: {results[0].failure.reason}"
    held = right if isinstance(right, Right) else Right()
    metrics = results[0].scores[held.arm].metrics
    values = ", ".join(f"{name} {metrics[name]:.3f}" for name in held.metrics or metrics)
    said = sorted(results[0].notes, key=lambda note: not any(text in note for text in held.notes))
    return "; ".join([f"{'' if held.arm == 'original' else f'{held.arm}: '}{values}", *said])

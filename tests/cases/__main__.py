"""The page of all cases: ``python -m tests.cases > docs/cases.md``. Runs them all."""

from __future__ import annotations

import os
import tempfile
import textwrap
from itertools import groupby
from pathlib import Path

from tests.cases.case import Registered
from tests.cases.execute import all_cases, execute

from quantbench.system import cache

PAGE = Path(__file__).parents[2] / "docs" / "cases.md"
HEAD = """# What is read, and what comes of it

Inputs that people have, each with what comes of it. `tests/cases` runs every one of them in `make test`, without timing, and
holds the outcome against the value that is right by the reference named here, which is never quantbench itself. Where not
said otherwise, scores are the original's; ` …` stands for the rest of what is told. This page is made by `python -m tests.cases`.
"""
LONGEST = 238
"""Characters of a row before its last bar."""


def page() -> str:
    """The page as Markdown: a table for every module of cases."""
    parts = [HEAD]
    for module, cases in groupby(all_cases(), key=lambda registered: registered.module):
        rows = "\n".join(_row(found) for found in cases)
        parts.append(f"## {module.capitalize()}\n\n| input | right by | what comes of it |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def start(registered: Registered) -> str:
    """The cells of a case's row that do not depend on a run."""
    return f"| {registered.name} | {registered.reference} |"


def _row(registered: Registered) -> str:
    with tempfile.TemporaryDirectory() as folder:
        told = execute(registered, Path(folder)).replace(f"{folder}/", "").replace("|", "\\|")
    begin = start(registered)
    return f"{begin} {textwrap.shorten(told, LONGEST - len(begin), placeholder=' …')} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own:  # neither finds what other runs made, nor waits for them
        os.environ |= {cache.VARIABLE: own, cache.LOCK_VARIABLE: own}
        print(page(), end="")

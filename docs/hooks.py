"""What the site has beside the pages of this folder: files from the repository's root, and the command line's help.

A hook of MkDocs (https://www.mkdocs.org/user-guide/configuration/#hooks). Pages link to files outside of this folder
as they lie in the repository; on the site these files lie one folder further down.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import typer
from mkdocs.structure.files import File, Files
from typer.testing import CliRunner

from quantbench.cli import app

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "LICENSE", "SECURITY.md")
EXAMPLES = ("*.yaml", "*.ipynb", "cards/*.md", "cards/*.svg", "data/*/LICENSE*")
COMMANDS = "<!-- commands -->"
LINK = re.compile(r"(\]\((?:\.\./)*)\.\./(?=(?:examples/|" + "|".join(map(re.escape, OUTSIDE)) + r"))")
WIDTH = 100


def on_files(files: Files, config: Any) -> Files:
    """Add the examples, with their cards, and the pages about the project."""
    for path in (*(ROOT / name for name in OUTSIDE), *_examples()):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Set links right, and write the help of all commands where a page asks for it."""
    outside = (ROOT / page.file.src_uri).exists()  # such a file names this folder
    markdown = markdown.replace("](docs/", "](") if outside else LINK.sub(r"\1", markdown)
    return markdown.replace(COMMANDS, _help()) if COMMANDS in markdown else markdown


def _examples() -> list[Path]:
    """Configurations, cards with their pictures, and licences of the data."""
    return sorted(path for pattern in EXAMPLES for path in (ROOT / "examples").glob(pattern))


def _help() -> str:
    """``--help`` of quantbench and of every command."""
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    texts = [f"## quantbench\n\n{_block([])}"]
    texts += [f"## quantbench {name}\n\n{_block([name])}" for name in group.commands]
    return "\n\n".join(texts)


def _block(command: list[str]) -> str:
    environment = {"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(app, [*command, "--help"], env=environment, prog_name="quantbench")
    assert result.exit_code == 0, result.output
    lines = (line.rstrip() for line in click.unstyle(result.output).strip().splitlines())
    return "```text\n" + "\n".join(lines) + "\n```"

"""``README.md`` of an embedding model to deploy: what its file gives, and how programs load it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from jinja2 import Environment as Templates
from jinja2 import StrictUndefined

from quantbench.served.feature_extraction import TEXT, prompts
from quantbench.served.modules import leaves_out_prompt
from quantbench.tune import one_file, readers
from quantbench.tune.one_file import OneFile

FILE = "README.md"
TEMPLATE = "README.md.jinja"
VESPA = {TEXT: ("query", "document"), "query": ("query",), "passage": ("document",)}
"""Elements in which Vespa is told what stands before a text, by the kind of text."""


def render(folder: Path, about: Mapping[str, Any], file: OneFile, alone: bool) -> str:
    """The whole text as Markdown.

    Args:
        folder: with everything else.
        about: what ``serving.json`` says.
        file: the model's.
        alone: whether ``tokenizer.json`` by itself gives the tokens that were scored.

    """
    steps, before = about["args"]["steps"], prompts(about["args"])
    # The text is Markdown, not HTML: nothing is to be escaped.
    templates = Templates(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    text = files("quantbench.tune").joinpath(TEMPLATE).read_text(encoding="utf-8")
    told = [f"`{prompt}` before every {kind}" for kind, prompt in before.items() if prompt]
    return templates.from_string(text).render(
        file=file,
        alone=alone,
        onnx=not file.reason and file.path.endswith(".onnx"),
        steps=", ".join(map(_told, steps)),
        limit=about["facts"]["limit"],
        search=TEXT not in before,
        before=before,
        names=readers.names(folder, before),
        similarity=about["args"].get("similarity"),
        by_hand=f" You put {' and '.join(told)}." if told else "",
        leaves_out_prompt=leaves_out_prompt(steps),
        unasked=one_file.unasked(file.lengths),
        one_switch=readers.one_switch(folder),
        prepended=[
            (tag, escape(prompt[:-1])) for kind, prompt in before.items() for tag in VESPA[kind] if prompt.endswith(" ")
        ],
        without_blank=[kind for kind, prompt in before.items() if prompt and not prompt.endswith(" ")],
    )


def _told(step: Mapping[str, Any]) -> str:
    if step["kind"] == "Pooling":
        return f"pooling ({' and '.join(step['modes'])})"
    return "normalization to length 1" if step["kind"] == "Normalize" else str(step["kind"])

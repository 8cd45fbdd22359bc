"""``README.md`` of an embedding model to deploy: what its file gives, and how programs load it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment as Templates
from jinja2 import StrictUndefined

from quantbench.served.modules import leaves_out_prompt
from quantbench.tune import readers
from quantbench.tune.one_file import OneFile

FILE = "README.md"
TEMPLATE = "README.md.jinja"


def render(folder: Path, about: Mapping[str, Any], file: OneFile, alone: bool) -> str:
    """The whole text as Markdown.

    Args:
        folder: with everything else.
        about: what ``serving.json`` says.
        file: the model's.
        alone: whether ``tokenizer.json`` by itself gives the tokens that were scored.

    """
    steps, prompt = about["args"]["steps"], about["args"]["prompt"]
    # The text is Markdown, not HTML: nothing is to be escaped.
    templates = Templates(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    text = files("quantbench.tune").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return templates.from_string(text).render(
        file=file,
        alone=alone,
        onnx=not file.reason and file.path.endswith(".onnx"),
        steps=", ".join(map(_told, steps)),
        limit=about["facts"]["limit"],
        prompt=prompt,
        by_hand=f" The prompt `{prompt}` is to be put before every text." if prompt else "",
        leaves_out_prompt=leaves_out_prompt(steps),
        default_prompt=readers.default_prompt(folder) if prompt else None,
        one_switch=readers.one_switch(folder),
    )


def _told(step: Mapping[str, Any]) -> str:
    if step["kind"] == "Pooling":
        return f"pooling ({' and '.join(step['modes'])})"
    return "normalization to length 1" if step["kind"] == "Normalize" else str(step["kind"])

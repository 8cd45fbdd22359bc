"""The page of all architectures: ``python -m tests.architectures > docs/architectures.md``. Runs them all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.architectures.listed import ARCHITECTURES, Architecture
from tests.architectures.rows import COLUMNS, cells

from quantbench.system import cache

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
HEAD = """# Architectures that are tested

Tiny random models of architectures that transformers' auto classes load, with what comes of each. This page is made by
`python -m tests.architectures`, and `make test-slow` holds every row against what comes out.

- **export**: checked and exported to ONNX at the default opset, and compared with PyTorch on texts of 3 to 30 words (or
  pictures), each alone and in padded batches. *By the newer exporter* needs `pip install 'quantbench[exporter]'` and
  `framework_args.opset: 18` or more: PyTorch's older exporter cannot do it.
- **static**, **dynamic**: int8 by ONNX Runtime's quantizer, of `Conv`, `Gemm` and `MatMul` or of `MatMul`. The file runs, some
  operator of it is quantized, and its outputs differ from those of the float export by at most half of these (norms over all examples).
- **tune**: all of a search but its timing: the sensitivity of every group of products, and the first version of every
  candidate of ONNX Runtime, made and tried on examples. It never times, so that no row depends on the machine.

Published models of ESM, XLM and FlauBERT come with tokenizers in Python, which cannot be used: here they have a fast one. Models
that are made for words on a page are measured on their text alone, and the card says so.

Random weights say nothing of how much a trained model loses in int8: measure yours.
"""


def page() -> str:
    """The page as Markdown."""
    lines = [line_of(architecture) for architecture in ARCHITECTURES]
    bar = "|".join("---" for _ in range(2 + len(COLUMNS)))
    return f"{HEAD}\n| architecture | as | {' | '.join(COLUMNS)} |\n|{bar}|\n" + "".join(f"{line}\n" for line in lines)


def start(architecture: Architecture) -> str:
    """The cells of a row that do not depend on a run."""
    return f"| {architecture.name} | {architecture.task} |"


def line_of(architecture: Architecture) -> str:
    """The row of an architecture, which is run."""
    with tempfile.TemporaryDirectory() as folder:
        found = cells(architecture, Path(folder))
    return f"{start(architecture)} {' | '.join(found[column] for column in COLUMNS)} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own:  # neither finds what other runs made, nor waits for them
        os.environ |= {cache.VARIABLE: own, cache.LOCK_VARIABLE: own}
        print(page(), end="")

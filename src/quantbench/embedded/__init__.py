"""The default model and data set that ship with the package.

Both folders are built by ``scripts/build_embedded.py``; the ``README.md`` in each
names the sources, the changes made to them and their licences.
"""

from pathlib import Path

_HERE = Path(__file__).resolve().parent

NAME = "demo"
"""What both are called in a configuration."""
MODEL: Path = _HERE / "model"
"""Folder of the token classification model and its tokenizer."""

DATA: Path = _HERE / "data"
"""Folder of ``train.parquet`` and ``test.parquet``."""
CONFIG: Path = Path(__file__).parent / "demo.yaml"
"""Configuration of ``quantbench demo``."""

"""Who is told of long work."""

from __future__ import annotations

import importlib
import warnings

from quantbench.schema.reporter import Reporter


def reporter(progress: bool) -> Reporter:
    """Bars on standard error, or nobody."""
    from quantbench.system.progress import Bars, Silent

    if not progress:
        return Silent()
    from rich.console import Console

    return Bars(Console(stderr=True))


def load_bars() -> None:
    """Import the bars of libraries before these do: in a notebook they warn that they lack widgets, unasked."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        importlib.import_module("tqdm.auto")

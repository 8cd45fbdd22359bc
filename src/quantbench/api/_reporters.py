"""Who is told of long work."""

from __future__ import annotations

from quantbench.schema.reporter import Reporter


def reporter(progress: bool) -> Reporter:
    """Bars on standard error, or nobody."""
    from quantbench.system.progress import Bars, Silent

    if not progress:
        return Silent()
    from rich.console import Console

    return Bars(Console(stderr=True))

"""What runtimes share that run the checkpoint, of which no graph is changed beforehand or looked at afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbench.plugins.signature import Signature
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings


def unchanged(settings: Settings) -> str | None:
    """A rule: what changes the float graph has no effect here."""
    asked = {
        "pruning": settings.pruning.takes,
        "positions: read": settings.positions != "all",
        "aware_training": settings.aware_training,
        f"embedding_tables: {settings.embedding_tables}": settings.embedding_tables != "float32",
    }
    what = [name for name, given in asked.items() if given]
    if not what:
        return None
    return (
        f"framework {settings.framework} runs the checkpoint as it is, which {' and '.join(what)} would change; "
        "leave it out"
    )


def signature(session: Any) -> Signature:
    """Never asked for: what they load is no file of another origin."""
    return Signature()


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Nothing: there is no graph to look at."""
    return {}


def is_integer(operator: str) -> bool:
    """Never: no operators are executed that could be named."""
    return False


def why_float(settings: Settings) -> str:
    """Never asked for: of what they load nothing tells what is quantized."""
    return f"Framework {settings.framework} computes in float"

"""What runtimes share that run the checkpoint, of which no graph is changed beforehand."""

from __future__ import annotations

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

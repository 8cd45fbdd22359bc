"""How many neurons the fastest version can lose: shares of them tried by halves, the largest that still passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantbench.config.rules import broken
from quantbench.graph.units import Units
from quantbench.graph.view import Graph
from quantbench.quantize.mixed.products import find_products
from quantbench.schema.settings import Settings
from quantbench.tune.state import Tried

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Of what the neurons of feed-forward layers cost."""


def next_version(tried: Sequence[Tried], of_products: float) -> Tried | None:
    """The version to try next, not judged yet; None where no other share of neurons can be the largest that passes.

    Args:
        tried: so far, pruned or not; the fastest whole one that passed and may be pruned is.
        of_products: what all neurons cost, as a share of all products; see :func:`share_of_products`.

    """
    whole_ones = [item for item in tried if item.verdict == "passes" and not item.pruned]
    passed = [item for item in whole_ones if not any(broken(_pruned(item.settings, SHARES[0])))]
    if not passed or not of_products:
        return None
    whole = min(passed, key=lambda item: item.seconds)
    own = {item.pruned: item.verdict == "passes" for item in tried if item.name == _name(whole, item.pruned)}
    share = next_share(own)
    if share is None:
        return None
    changes = {
        "name": _name(whole, share),
        "settings": _pruned(whole.settings, share),
        "seconds": whole.seconds * (1 - share * of_products),
        "pruned": share,
    }
    return whole.model_copy(update=changes)


def next_share(passed: Mapping[float, bool]) -> float | None:
    """The share to try next, from whether those that were tried passed; None where none is left."""
    lowest = max((share for share, good in passed.items() if good), default=0.0)
    highest = min((share for share, good in passed.items() if not good), default=1.0)
    left = [share for share in SHARES if lowest < share < highest]
    return left[(len(left) - 1) // 2] if left else None


def share_of_products(graph: Graph, layers: Sequence[Units]) -> float:
    """What neurons cost that can be taken, as a share of all products with constant weights."""
    total = sum(product.matrix(graph).size for product in find_products(graph))
    own = sum(units.count * units.multiplications(graph) for units in layers if units.kind == "ffn")
    return own / total if total else 0.0


def _pruned(settings: Settings, share: float) -> Settings:
    return settings.model_copy(update={"pruning": settings.pruning.model_copy(update={"ffn": share})})


def _name(whole: Tried, share: float) -> str:
    return f"{whole.name}-ffn{100 * share:.0f}"

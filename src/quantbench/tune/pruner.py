"""How much less the fastest version can compute: neurons, then heads, shares tried by halves, the largest that passes.

Then, where training is asked for, the next larger shares of neurons, as long as what has learned to miss them passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantbench.config.rules import broken
from quantbench.graph.units import Units
from quantbench.graph.view import Graph
from quantbench.quantize.mixed.products import find_products
from quantbench.schema.settings import Settings
from quantbench.tune.state import Tried

SHARES: Mapping[str, tuple[float, ...]] = {
    "ffn": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    "heads": (0.1, 0.2, 0.3),
}
"""By kind, of what neurons of feed-forward layers or heads of attentions cost; neurons first, which cost most."""


def next_version(tried: Sequence[Tried], of_products: Mapping[str, float]) -> Tried | None:
    """The version to try next, not judged yet; None where no other share of any kind can be the largest that passes.

    Args:
        tried: so far, pruned or not; the fastest whole one that passed and may be pruned is.
        of_products: what all units of a kind cost, as a share of all products; see :func:`shares_of_products`.

    """
    whole_ones = [item for item in tried if item.verdict == "passes" and not item.pruned]
    passed = [item for item in whole_ones if not any(broken(_pruned(item.settings, {"ffn": SHARES["ffn"][0]})))]
    if not passed or passed[0].settings.pruning.takes:  # the configuration says what is taken
        return None
    whole = min(passed, key=lambda item: item.seconds)
    own = [item for item in tried if _same(item, whole) and not item.settings.aware_training]
    taken: dict[str, float] = {}
    for kind, shares in SHARES.items():
        verdicts = {
            item.pruned.get(kind, 0.0): item.verdict == "passes"
            for item in own
            if _others(item.pruned, kind) == _others(taken, kind)
        }
        share = next_share(verdicts, shares) if of_products.get(kind) else None
        if share is not None:
            return _version(whole, taken | {kind: share}, of_products)
        taken[kind] = max(share for share, good in verdicts.items() if good)
    return None


def next_trained(tried: Sequence[Tried], of_products: Mapping[str, float], minutes: float) -> Tried | None:
    """The version to train next, not judged yet: with more neurons taken than any that passed; None where none is left.

    Args:
        tried: so far; the fastest that passed is what more is taken of.
        of_products: as of :func:`next_version`.
        minutes: of training.

    """
    passed = [item for item in tried if item.verdict == "passes" and not any(broken(_trained(item.settings, minutes)))]
    if not passed or any(item.settings.aware_training and item.verdict != "passes" for item in tried):
        return None
    best = min(passed, key=lambda item: item.seconds)
    whole = next(item for item in tried if _same(item, best) and not item.pruned)
    left = [share for share in SHARES["ffn"] if share > best.pruned.get("ffn", 0.0)]
    if whole.settings.pruning.takes or not left or not of_products.get("ffn"):
        return None
    found = _version(whole, {**best.pruned, "ffn": left[0]}, of_products)
    return found.model_copy(update={"name": f"{found.name}-trained", "settings": _trained(found.settings, minutes)})


def next_share(passed: Mapping[float, bool], shares: Sequence[float]) -> float | None:
    """The share to try next, from whether those that were tried passed; None where none is left."""
    lowest = max((share for share, good in passed.items() if good), default=0.0)
    highest = min((share for share, good in passed.items() if not good), default=1.0)
    left = [share for share in shares if lowest < share < highest]
    return left[(len(left) - 1) // 2] if left else None


def shares_of_products(graph: Graph, layers: Sequence[Units]) -> dict[str, float]:
    """What the units of each kind cost that can be taken, as a share of all products with constant weights."""
    total = sum(product.matrix(graph).size for product in find_products(graph))
    own = dict.fromkeys(SHARES, 0.0)
    for units in layers:
        own[units.kind] += units.count * units.multiplications(graph)
    return {kind: cost / total if total else 0.0 for kind, cost in own.items()}


def _version(whole: Tried, taken: Mapping[str, float], of_products: Mapping[str, float]) -> Tried:
    pruned = {kind: share for kind, share in taken.items() if share}
    words = [f"{kind}{100 * share:.0f}" for kind, share in pruned.items()]
    changes = {
        "pruned": pruned,
        "name": "-".join([whole.name, *words]),
        "settings": _pruned(whole.settings, taken),
        "seconds": whole.seconds * (1 - sum(share * of_products[kind] for kind, share in taken.items())),
    }
    return whole.model_copy(update=changes)


def _same(one: Tried, other: Tried) -> bool:
    """Whether two are one version but for what was taken of them and what they have learned."""
    return (one.candidate, one.step) == (other.candidate, other.step)


def _trained(settings: Settings, minutes: float) -> Settings:
    args = settings.aware_training_args.model_copy(update={"minutes": minutes})
    return settings.model_copy(update={"aware_training": True, "aware_training_args": args})


def _others(taken: Mapping[str, float], kind: str) -> dict[str, float]:
    """The shares of all kinds but one."""
    return {other: share for other, share in taken.items() if share and other != kind}


def _pruned(settings: Settings, taken: Mapping[str, float]) -> Settings:
    return settings.model_copy(update={"pruning": settings.pruning.model_copy(update=taken)})

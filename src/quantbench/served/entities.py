"""Entities in a sequence of labels, by the rule of seqeval's default mode (that of ``conlleval``).

Sources: Ramshaw and Marcus 1995 for the schemes, seqeval 1.2.2 for the rule; a property test holds the two equal. A
chunk starts at ``B-``, at ``I-`` after ``O`` or after a chunk of another type; it ends before the next start or ``O``.
seqeval itself reports sums over a whole data set only; the counts of single sentences are needed for paired intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

Entity = tuple[str, int, int]


def entities(labels: Sequence[str]) -> set[Entity]:
    """The entities of one sentence as (type, first word, last word)."""
    found: set[Entity] = set()
    previous_tag, previous_type, begin = "O", "", 0
    for index, label in enumerate([*labels, "O"]):
        tag, kind = _parts(label)
        if _ends(previous_tag, tag, previous_type, kind):
            found.add((previous_type, begin, index - 1))
        if _starts(previous_tag, tag, previous_type, kind):
            begin = index
        previous_tag, previous_type = tag, kind
    return found


def _parts(label: str) -> tuple[str, str]:
    return label[:1], label[1:].split("-", maxsplit=1)[-1] or "_"


def _ends(previous: str, tag: str, previous_type: str, kind: str) -> bool:
    if previous in ("E", "S"):
        return True
    if previous in ("B", "I") and tag in ("B", "S", "O"):
        return True
    return previous not in ("O", ".") and previous_type != kind


def _starts(previous: str, tag: str, previous_type: str, kind: str) -> bool:
    if tag in ("B", "S"):
        return True
    if previous in ("E", "S", "O") and tag in ("E", "I"):
        return True
    return tag not in ("O", ".") and previous_type != kind

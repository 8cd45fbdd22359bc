"""Entities in a sequence of labels, by the scheme that the set of all labels shows.

Needs nothing but the standard library, since the file is laid beside deployed models.

Sources: Ramshaw and Marcus 1995 for chunks as labels, Ratinov and Roth 2009 for BILOU, seqeval 1.2.2 for the rules. In
IOB (1 and 2), IOBES and BMES, seqeval's default mode counts (that of ``conlleval``): a chunk starts at ``B-``, at
``I-`` after ``O`` or after a chunk of another type, and ends before the next start or ``O``. In BILOU its strict mode
counts: ``U-`` alone, or ``B-``, any number of ``I-`` and ``L-`` of one type. Labels without prefix beside an ``O`` are
entities as long as they last. Without prefixes and ``O`` every word has a label of its own, and there are no entities.
Property tests hold all of them equal to seqeval.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

Entity = tuple[str, int, int]
OUTSIDE = "O"
PLAIN, WORDS = "plain", "words"
"""Schemes of labels without prefix: with ``O`` and without."""
NO_WORD = ("X", "[CLS]", "[SEP]", "[PAD]", "PAD", "<PAD>", "<pad>", "<s>", "</s>")
"""Labels that taggers have for what is no word, beside labels with prefixes: outside of entities."""
FORMS = {
    "": re.compile(r"(?P<tag>[BIESLUM])(?:-(?P<type>.*))?", re.DOTALL),
    ":B_TYPE": re.compile(r"(?P<tag>[BIESLUM])_(?P<type>.+)", re.DOTALL),
    ":TYPE-B": re.compile(r"(?P<type>.+)-(?P<tag>[BIESLUM])", re.DOTALL),
    ":TYPE_B": re.compile(r"(?P<type>.+)_(?P<tag>[BIESLUM])", re.DOTALL),
}
"""How a tag and a type make a label, by what follows the scheme's name."""
SCHEMES = {"IOB": "BI", "IOBES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
"""Tags of each scheme; the first that has all of the labels' tags counts."""
DESCRIPTIONS = {
    "IOB": "labels are read as IOB (B- and I-), entities are those of seqeval's default mode",
    "IOBES": "labels are read as IOBES (B-, I-, E-, S-), entities are those of seqeval's default mode",
    "BILOU": "labels are read as BILOU (B-, I-, L-, U-), entities are those of seqeval's strict mode",
    "BMES": "labels are read as BMES (B-, M-, E-, S-), entities are those of seqeval's default mode for IOBES",
    PLAIN: "labels have no prefix: neighbouring words of one label other than O are one entity",
    WORDS: "labels are of single words, there are no entities (no O, no prefixes): words are scored",
}


def scheme_of(labels: Collection[str]) -> str:
    """The scheme of a whole set of labels.

    Returns:
        A name of ``SCHEMES`` and what follows it in ``FORMS``, or ``PLAIN`` or ``WORDS``.

    Raises:
        ValueError: if some labels have a prefix and others none, or prefixes are of several schemes.

    """
    inner = [label for label in labels if label not in (OUTSIDE, *NO_WORD)]
    for form, pattern in FORMS.items():
        found = [pattern.fullmatch(label) for label in inner]
        tags = {match["tag"] for match in found if match}
        if not inner or not all(found):
            continue
        scheme = next((name for name, known in SCHEMES.items() if tags <= set(known)), None)
        if scheme is None:
            raise ValueError(f"labels have the prefixes {', '.join(sorted(tags))}, which are of no one scheme")
        return scheme + form
    prefixed = [label for label in inner if re.fullmatch(r"[BIESLUM]-.+", label, re.DOTALL)]
    if prefixed and OUTSIDE in labels:
        other = next(label for label in inner if label not in prefixed)
        raise ValueError(f"label {prefixed[0]} has a prefix, label {other} has none")
    return PLAIN if OUTSIDE in labels else WORDS


def describe(scheme: str) -> str:
    """The scheme in a sentence."""
    name, _, form = scheme.partition(":")
    return DESCRIPTIONS[name] + (f"; their form is {form}" if form else "")


def entities(labels: Sequence[str], scheme: str = "IOB") -> set[Entity]:
    """The entities of one sentence as (type, first word, last word); ``scheme`` is that of :func:`scheme_of`."""
    name, _, form = scheme.partition(":")
    if name == WORDS:
        return set()
    if name == PLAIN:
        return set(_runs(labels))
    pairs = [_parts(label, f":{form}" if form else "") for label in labels]
    if name == "BILOU":
        return set(_strict(pairs))
    if name == "BMES":
        pairs = [("I" if tag == "M" else tag, kind) for tag, kind in pairs]
    return _chunks(pairs)


def _parts(label: str, form: str) -> tuple[str, str]:
    """Tag and type; of what has not this form, as seqeval splits it."""
    if label in NO_WORD:
        return OUTSIDE, "_"
    match = FORMS[form].fullmatch(label) if form else None
    if match:
        return match["tag"], match["type"]
    return label[:1], label[1:].split("-", maxsplit=1)[-1] or "_"


def _runs(labels: Sequence[str]) -> Iterator[Entity]:
    begin = 0
    for index in range(1, len(labels) + 1):
        if index == len(labels) or labels[index] != labels[begin]:
            if labels[begin] != OUTSIDE:
                yield labels[begin], begin, index - 1
            begin = index


def _strict(pairs: Sequence[tuple[str, str]]) -> Iterator[Entity]:
    begin: int | None = None
    for index, (tag, kind) in enumerate(pairs):
        if begin is not None and (tag not in ("I", "L") or kind != pairs[begin][1]):
            begin = None
        if tag == "U":
            yield kind, index, index
        elif tag == "B":
            begin = index
        elif tag == "L" and begin is not None:
            yield kind, begin, index
            begin = None


def _chunks(pairs: Sequence[tuple[str, str]]) -> set[Entity]:
    found: set[Entity] = set()
    previous_tag, previous_type, begin = OUTSIDE, "", 0
    for index, (tag, kind) in enumerate([*pairs, (OUTSIDE, "_")]):
        if _ends(previous_tag, tag, previous_type, kind):
            found.add((previous_type, begin, index - 1))
        if _starts(previous_tag, tag, previous_type, kind):
            begin = index
        previous_tag, previous_type = tag, kind
    return found


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

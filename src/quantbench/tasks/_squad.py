"""Exact match and F1 of answers by the rules of the SQuAD scripts (Rajpurkar et al., 2016 and 2018).

Answers are compared in lower case without punctuation, the words a, an and the, and repeated blanks; the best of all
reference answers counts. An unanswerable question has no reference answer, and is answered well by nothing.

F1 counts words. Where an answer has Chinese characters or kana, between which there are no blanks, each of these is a
word and no punctuation counts, by the rule "mixed segmentation" of the scripts of MLQA (Lewis et al., 2020, for
Chinese) and CMRC 2018; here it holds for Japanese too. Other texts are not touched by it.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from quantbench.served.question_answering import CHINESE, KANA

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(f"[{CHINESE}{KANA}]")


def normalized(answer: str) -> str:
    """An answer in lower case without punctuation, articles and repeated blanks, as answers are compared."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact(answer: str, reference: str) -> float:
    """1 if they are the same."""
    return float(normalized(answer) == normalized(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of the shares of common words; where one has no words, 1 if the other has none either."""
    given, wanted = _words(answer), _words(reference)
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def _words(answer: str) -> list[str]:
    text = normalized(answer)
    if not _WORD.search(text):
        return text.split()
    kept = "".join(character for character in text if not unicodedata.category(character).startswith("P"))
    return _WORD.sub(lambda match: f" {match[0]} ", kept).split()


def best(rule: Callable[[str, str], float], answer: str, references: Sequence[str]) -> float:
    """The best of a rule's values over all reference answers that are not empty; over none, against nothing."""
    return max(rule(answer, reference) for reference in [text for text in references if normalized(text)] or [""])

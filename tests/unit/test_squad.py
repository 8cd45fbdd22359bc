"""Answers by the rules of the SQuAD scripts; and the metrics of questions with and without an answer."""

import collections
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.tasks import _squad
from quantbench.tasks.question_answering import COLUMNS, metrics

WORDS = st.lists(
    st.sampled_from(["the", "a", "an", "Denver", "denver", "Broncos!", "24", "and", "(won)", "é"]), max_size=6
)
ANSWERS = WORDS.map(" ".join)


def official_normalized(text):
    """As the text of the script for version 2.0 describes it: lower, punctuation, articles, blanks, in this order."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split())


def official_f1(gold, given_answer):
    """Of the script for version 2.0: from counts of common tokens."""
    gold_tokens, tokens = official_normalized(gold).split(), official_normalized(given_answer).split()
    common = collections.Counter(gold_tokens) & collections.Counter(tokens)
    same = sum(common.values())
    if len(gold_tokens) == 0 or len(tokens) == 0:
        return float(gold_tokens == tokens)
    if same == 0:
        return 0.0
    precision, recall = same / len(tokens), same / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


@given(ANSWERS, ANSWERS)
def test_rules_are_those_of_the_script(answer, reference):
    assert _squad.normalized(answer) == official_normalized(answer)
    assert _squad.f1(answer, reference) == pytest.approx(official_f1(reference, answer), abs=1e-12)
    assert _squad.exact(answer, reference) == float(official_normalized(answer) == official_normalized(reference))


def test_the_best_reference_counts():
    references = ["Denver Broncos", "The Broncos"]
    assert _squad.best(_squad.exact, "the Broncos.", references) == 1
    assert _squad.best(_squad.f1, "Broncos of Denver", references) == pytest.approx(0.8)


def test_an_unanswerable_question_is_answered_by_nothing():
    assert _squad.best(_squad.exact, "", []) == 1
    assert _squad.best(_squad.f1, "Denver", []) == 0
    assert _squad.best(_squad.f1, "Denver", ["", "the"]) == 0


def test_questions_with_and_without_an_answer_have_their_own_means():
    outcomes = np.array([[100, 100, 1], [0, 50, 1], [100, 100, 0]])
    found = metrics(COLUMNS, outcomes, np.array([1, 1, 2]))
    assert found == {
        "exact_match": 75.0, "f1": 87.5, "HasAns_exact_match": 50.0, "HasAns_f1": 75.0,
        "NoAns_exact_match": 100.0, "NoAns_f1": 100.0,
    }  # fmt: skip
    assert metrics(COLUMNS, outcomes[:2], np.ones(2))["NoAns_f1"] == 0

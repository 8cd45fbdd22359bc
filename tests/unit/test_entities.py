"""Entities and scores equal seqeval's own."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from quantbench.served.entities import entities
from quantbench.tasks.token_classification import COLUMNS, TokenExamples, metrics_from_counts, score

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
ODD_LABELS = [*LABELS, "E-PER", "S-LOC", "B", "I", "B-", "X-PER", "I-A-B"]
sentences = st.lists(st.sampled_from(LABELS), min_size=1, max_size=12)


@given(st.lists(st.sampled_from(ODD_LABELS), max_size=15))
def test_entities_are_those_of_seqeval(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert entities(labels) == set(get_entities(labels))


@given(st.lists(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1), min_size=1))
def test_scores_are_those_of_seqeval(pairs):
    true = [[a for a, _ in sentence] for sentence in pairs]
    predicted = [[b for _, b in sentence] for sentence in pairs]
    examples = TokenExamples([], [], [], true, LABELS, "", ())
    numbers = [tuple(LABELS.index(name) for name in sentence) for sentence in predicted]
    scores = score(examples, numbers, numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "precision": precision_score(true, predicted, zero_division=0),
            "recall": recall_score(true, predicted, zero_division=0),
            "f1": f1_score(true, predicted, zero_division=0),
            "accuracy": accuracy_score(true, predicted),
        }
    assert scores.metrics == pytest.approx(expected, abs=1e-12)
    assert scores.examples == len(pairs)


@given(st.lists(sentences, min_size=1))
def test_metrics_can_be_summed_again_from_the_outcomes(true):
    examples = TokenExamples([], [], [], true, LABELS, "", ())
    outside = [tuple(0 for _ in sentence) for sentence in true]
    scores = score(examples, outside, outside)
    sums = [sum(column) for column in zip(*scores.outcomes, strict=True)]
    assert scores.columns == COLUMNS
    assert metrics_from_counts(sums) == scores.metrics


def test_a_word_that_was_cut_off_counts_as_outside():
    examples = TokenExamples([], [], [], [["B-PER", "O", "B-LOC"]], LABELS, "", ())
    scores = score(examples, [(1, 0, -1)], [(1, 0, 0)])
    assert scores.changed == 1
    assert scores.metrics["recall"] == 0.5
    assert scores.metrics["precision"] == 1.0
    assert scores.metrics["accuracy"] == pytest.approx(2 / 3)

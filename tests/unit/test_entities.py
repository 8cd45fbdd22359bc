"""Entities and scores equal seqeval's own."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, Tokens

from quantbench.served.entities import describe, entities, scheme_of
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


def _strictly(labels, scheme):
    return {(entity.tag, entity.start, entity.end - 1) for entity in Tokens(labels, scheme).entities}


BILOU_LABELS = ["O", *(f"{tag}-{kind}" for tag in "BILU" for kind in ("PER", "A-B"))]
IOBES_LABELS = ["O", *(f"{tag}-{kind}" for tag in "BIES" for kind in ("PER", "A-B"))]


@given(st.lists(st.sampled_from(BILOU_LABELS), max_size=15))
def test_bilou_is_strict(labels):
    assert entities(labels, "BILOU") == _strictly(labels, BILOU)


@given(st.lists(st.sampled_from(IOBES_LABELS), max_size=15))
def test_iobes_and_bmes_are_those_of_seqeval(labels):
    expected = set(get_entities(labels))
    assert entities(labels, "IOBES") == expected
    assert entities([f"M{label[1:]}" if label[0] == "I" else label for label in labels], "BMES") == expected


@given(st.lists(st.sampled_from(["O", "PER", "ORG", "LER"]), max_size=15))
def test_plain_labels_are_entities_as_long_as_they_last(labels):
    as_inside = [label if label == "O" else f"I-{label}" for label in labels]
    assert entities(labels, "plain") == set(get_entities(as_inside))


@given(st.lists(st.sampled_from(LABELS), max_size=15), st.sampled_from(["B_TYPE", "TYPE-B", "TYPE_B"]))
def test_other_forms_of_the_same_labels(labels, form):
    def written(label):
        tag, _, kind = label.partition("-")
        return label if label == "O" else form.replace("TYPE", kind).replace("B", tag, 1) if form[0] == "B" else (
            f"{kind}{form[4]}{tag}"
        )  # fmt: skip

    assert scheme_of({written(label) for label in LABELS}) == f"IOB:{form}"
    assert entities([written(label) for label in labels], f"IOB:{form}") == entities(labels)


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        (LABELS, "IOB"),
        (["O", "I-PER"], "IOB"),
        (["O", "B", "I"], "IOB"),
        (IOBES_LABELS, "IOBES"),
        (BILOU_LABELS, "BILOU"),
        (["O", "B-X", "M-X", "E-X", "S-X"], "BMES"),
        ([*LABELS, "X", "[CLS]", "[SEP]"], "IOB"),
        (["O", "PER", "ORG"], "plain"),
        (["O", "N", "V", "S", "^"], "plain"),
        (["NOUN", "VERB", "X", "OTHER"], "words"),
        (["NOUN", "B-NOUN", "I-NOUN"], "words"),
        (["LABEL_0", "LABEL_1"], "words"),
        (["O"], "plain"),
    ],
)
def test_schemes_are_known_by_all_labels(labels, scheme):
    assert scheme_of(labels) == scheme
    assert describe(scheme)


@pytest.mark.parametrize("labels", [["O", "B-PER", "I-PER", "ORG"], ["O", "B-X", "L-X", "E-X"]])
def test_mixtures_are_refused(labels):
    with pytest.raises(ValueError, match=r"prefix"):
        scheme_of(labels)

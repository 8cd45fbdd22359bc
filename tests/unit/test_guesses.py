"""What follows from configurations, columns, splits and lengths, by table."""

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value

from quantbench.api import _guesses as guesses
from quantbench.api._guesses import Given
from quantbench.errors import BadInput
from quantbench.sources.columns import Column, columns_of, kind_of

SUFFIXES = {
    "token-classification": "ForTokenClassification",
    "text-classification": "ForSequenceClassification",
    "question-answering": "ForQuestionAnswering",
    "image-classification": "ForImageClassification",
    "feature-extraction": "",
}
TOPICS = ("sport", "money", "weather")
TAGS = ("O", "B-PER", "I-PER")


def refused(call, *arguments):
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    (mistake,) = caught.value.mistakes
    return str(mistake)


@pytest.mark.parametrize(
    ("architectures", "embeds", "task"),
    [
        (["BertForTokenClassification"], False, "token-classification"),
        (["DebertaV2ForSequenceClassification"], False, "text-classification"),
        (["RobertaForQuestionAnswering"], False, "question-answering"),
        (["SwinForImageClassification"], False, "image-classification"),
        (["BertModel"], False, "feature-extraction"),
        (["DPRContextEncoder"], False, "feature-extraction"),
        (["BertForMaskedLM"], True, "feature-extraction"),
        (None, True, "feature-extraction"),
    ],
)
def test_tasks(architectures, embeds, task):
    assert guesses.task_of({"architectures": architectures}, embeds, SUFFIXES)[0] == task


@pytest.mark.parametrize("architectures", [["BertForMaskedLM"], [], None])
def test_a_model_for_no_task_is_asked_about(architectures):
    told = refused(guesses.task_of, {"architectures": architectures}, False, SUFFIXES)
    assert told.startswith("--task: ")
    assert all(task in told for task in SUFFIXES)
    assert not architectures or "BertForMaskedLM" in told


@pytest.mark.parametrize(
    ("config", "args"),
    [
        ({"id2label": {"0": "LABEL_0"}}, {"is_regression": True}),
        ({"num_labels": 1}, {"is_regression": True}),
        ({"id2label": {"0": "no", "1": "yes"}}, {}),
        ({}, {}),
        ({"problem_type": "regression", "id2label": {"0": "a"}}, {"is_regression": True}),
        ({"problem_type": "multi_label_classification", "id2label": {"0": "a", "1": "b"}}, {"is_multi_label": True}),
        ({"problem_type": "single_label_classification", "id2label": {"0": "a", "1": "b"}}, {}),
    ],
)
def test_what_outputs_are(config, args):
    assert guesses.args_of("text-classification", config) == args
    assert guesses.args_of("token-classification", config) == {}


def test_labels_are_in_the_order_of_their_numbers():
    assert guesses.labels_of({"id2label": {"10": "k", "2": "c", "0": "a"}}) == ["a", "c", "k"]
    assert guesses.labels_of({}) == ["LABEL_0", "LABEL_1"]


@pytest.mark.parametrize(
    ("feature", "kind"),
    [
        (Value("string"), "text"),
        (Value("large_string"), "text"),
        (Value("string_view"), "text"),
        (Value("int8"), "integer"),
        (Value("uint64"), "integer"),
        (Value("bool"), "truth"),
        (Value("float32"), "number"),
        (Value("binary"), "image"),
        (Value("timestamp[s]"), "none"),
        (Value("null"), "none"),
        (ClassLabel(names=["a"]), "label"),
        (Image(), "image"),
        (List(Value("string")), "texts"),
        (datasets.LargeList(Value("large_string")), "texts"),
        (List(ClassLabel(names=["a"])), "integers"),
        (List(Value("float64")), "numbers"),
        ({"bytes": Value("binary"), "path": Value("string")}, "image"),
        ({"text": List(Value("string")), "answer_start": List(Value("int32"))}, "answers"),
        ({"x": Value("string")}, "none"),
    ],
)
def test_kinds_of_columns(feature, kind):
    assert kind_of(feature) == kind


def test_fields_of_records_are_columns():
    rows = [{"review": {"text": "x", "by": {"name": "y"}}, "answers": {"text": ["a"], "answer_start": [0]}}, {}]
    found = columns_of(Dataset.from_list(rows))
    assert [(column.name, column.kind, column.plain) for column in found] == [
        ("review.text", "text", "text"),
        ("review.by.name", "text", "name"),
        ("answers", "answers", "answers"),
    ]


def test_values_of_columns_are_names_of_labels():
    features = Features({"t": List(ClassLabel(names=["O", "B"])), "n": Value("float32"), "b": Value("bool")})
    rows = [{"t": [0], "n": 1.0, "b": True}, {"t": [], "n": None, "b": False}]
    t, n, b = columns_of(Dataset.from_list(rows, features=features))
    assert (t.names, t.empty, n.values, b.values) == (("O", "B"), True, ("1",), ("true", "false"))
    assert t.fits(["B", "O", "I"]) and not t.fits(["B"])
    assert b.fits(["True", "False"]) and not b.fits(["yes"])


def text(name, *values):
    return Column(name, "text", values=values or ("x",))


TEXT, LABEL = text("text"), Column("label", "label", TOPICS)
TOKENS = Column("tokens", "texts", values=("Oslo", "is"))
QUESTION, CONTEXT = text("question"), text("context")
ANSWERS = Column("answers", "answers")
SCORE = Column("score", "number", values=("0.5",))
IMAGE = Column("image", "image")
SPEECH = Column("pos_tags", "integers", ("NOUN", "VERB"))
ENTITIES = Column("ner_tags", "integers", TAGS)
ONE, MANY = "text-classification", "feature-extraction"
WORDS, SPANS, PICTURES = "token-classification", "question-answering", "image-classification"
SETS = {"is_multi_label": True}


@pytest.mark.parametrize(
    ("task", "columns", "labels", "data_keys", "ref_keys", "args"),
    [
        (ONE, [TEXT, LABEL], TOPICS, {"primary": "text"}, ("label",), {}),
        (ONE, [text("id"), text("q"), LABEL], TOPICS, {"primary": "q"}, ("label",), {}),
        (ONE, [text("title"), text("text"), LABEL], TOPICS, {"primary": "text"}, ("label",), {}),
        (ONE, [text("x"), text("y", "sport", "money")], TOPICS, {"primary": "x"}, ("y",), {}),
        (ONE, [text("x"), text("Category", "chess")], TOPICS, {"primary": "x"}, ("Category",), {}),
        (ONE, [TEXT, Column("label", "integer"), text("label_text", "sport")], TOPICS, {}, ("label_text",), {}),
        (ONE, [text("premise"), text("hypothesis"), LABEL], TOPICS, {"secondary": "hypothesis"}, ("label",), {}),
        (ONE, [text("question"), text("sentence"), LABEL], TOPICS, {"primary": "question"}, ("label",), {}),
        (ONE, [TEXT, Column("tags", "texts", values=("sport",))], TOPICS, {"primary": "text"}, ("tags",), SETS),
        (ONE, [TEXT, *(Column(n, "integer") for n in TOPICS)], TOPICS, {"primary": "text"}, TOPICS, SETS),
        (WORDS, [TOKENS, SPEECH, ENTITIES], TAGS, {"primary": "tokens"}, ("ner_tags",), {}),
        (WORDS, [TOKENS, SPEECH, ENTITIES], ("NOUN", "VERB", "X"), {"primary": "tokens"}, ("pos_tags",), {}),
        (WORDS, [TOKENS, Column("t", "texts", values=("O", "B-PER"))], TAGS, {"primary": "tokens"}, ("t",), {}),
        (SPANS, [text("id"), text("title"), CONTEXT, QUESTION, ANSWERS], (), {"context": "context"}, ("answers",), {}),
        (
            SPANS,
            [text("passage"), text("query"), Column("answers", "answers", empty=True)],
            (),
            {"question": "query", "context": "passage"},
            ("answers",),
            {"handle_impossible": True},
        ),
        (PICTURES, [IMAGE, LABEL], TOPICS, {"primary": "image"}, ("label",), {}),
        (MANY, [TEXT], (), {"primary": "text"}, (), {}),
        (MANY, [TEXT, LABEL], (), {"primary": "text"}, (), {}),
        (MANY, [text("left"), text("right"), SCORE], (), {"primary": "left", "secondary": "right"}, ("score",), {}),
        (MANY, [text("sentence1"), text("sentence2"), text("note"), SCORE], (), {}, ("score",), {}),
    ],
)
def test_columns(task, columns, labels, data_keys, ref_keys, args):
    chosen = guesses.choose_columns(task, columns, labels, {}, Given())
    assert data_keys.items() <= chosen.data_keys.items()
    assert chosen.ref_keys == ref_keys
    assert dict(chosen.task_args) == args


@pytest.mark.parametrize(
    ("task", "columns", "given", "data_keys"),
    [
        (ONE, [text("id"), TEXT], Given(), {"primary": "text"}),
        (ONE, [text("odd")], Given(), {"primary": "odd"}),
        (ONE, [text("title"), TEXT], Given(), {"primary": "text"}),
        (ONE, [text("premise"), text("hypothesis")], Given(), {"primary": "premise", "secondary": "hypothesis"}),
        (ONE, [TEXT, LABEL], Given(unlabelled=True), {"primary": "text"}),
        (WORDS, [TOKENS], Given(), {"primary": "tokens"}),
        (WORDS, [text("id"), TEXT], Given(), {"primary": "text"}),
        (WORDS, [TOKENS, ENTITIES], Given(unlabelled=True), {"primary": "tokens"}),
        (SPANS, [QUESTION, CONTEXT, text("title")], Given(), {"question": "question", "context": "context"}),
        (PICTURES, [IMAGE, Column("id", "integer")], Given(), {"primary": "image"}),
    ],
)
def test_without_labels_there_are_no_references(task, columns, given, data_keys):
    chosen = guesses.choose_columns(task, columns, TOPICS, {}, given)
    assert (dict(chosen.data_keys), chosen.ref_keys) == (data_keys, ())


def test_a_text_may_be_the_answer():
    columns = [QUESTION, CONTEXT, text("answer")]
    assert guesses.choose_columns(SPANS, columns, (), {}, Given()).ref_keys == ("answer",)


def test_a_number_is_a_column_of_numbers():
    columns = [Column("id", "integer"), TEXT, SCORE]
    assert guesses.choose_columns(ONE, columns, ["LABEL_0"], {"is_regression": True}, Given()).ref_keys == ("score",)


def test_options_count_more_than_names():
    columns = [TEXT, text("other"), LABEL, Column("label2", "label", TOPICS)]
    given = Given(("other", "text"), ("label2",))
    chosen = guesses.choose_columns(ONE, columns, TOPICS, {}, given)
    assert (dict(chosen.data_keys), chosen.ref_keys) == ({"primary": "other", "secondary": "text"}, ("label2",))


@pytest.mark.parametrize(
    ("task", "columns", "given", "says"),
    [
        (ONE, [TEXT, LABEL], Given(("texts",)), "--text-column: there is no column 'texts'; there is: text (texts), "),
        (
            ONE,
            [text("a1"), text("b1"), LABEL],
            Given(),
            "--text-column: several columns may hold texts: a1 (texts), b1",
        ),
        (ONE, [TEXT, SCORE], Given(), "--label-column: no column is known to hold labels"),
        (ONE, [text("one"), text("other")], Given(), "--label-column: no column is known to hold labels"),
        (WORDS, [TOKENS, Column("t", "texts", values=("A",))], Given(), "--label-column: no column is known to hold"),
        (ONE, [TEXT, Column("u", "label", ("A",)), Column("v", "label", ("B",))], Given(), "--label-column: several"),
        (ONE, [TEXT, Column("label", "integer", values=("0", "2"))], Given(), "--set dataset.label_names: "),
        (WORDS, [TEXT, LABEL], Given(), "--label-column: no column is known to hold a label per word"),
        (SPANS, [TEXT, ANSWERS], Given(), "--text-column: no column is known to hold questions"),
        (SPANS, [TEXT, ANSWERS], Given(("text",)), "--text-column: question answering reads two columns"),
        (MANY, [text("a1"), text("b1")], Given(), "--text-column: several columns may hold texts"),
        (MANY, [text("a1"), text("b1")], Given(("a1", "b1")), "--label-column: pairs of texts need their similarity"),
        (PICTURES, [TEXT, LABEL], Given(), "--text-column: no column is known to hold images"),
        ("mine", [TEXT, LABEL], Given(), "--task: columns for mine cannot be told"),
    ],
)
def test_columns_that_cannot_be_told(task, columns, given, says):
    assert refused(guesses.choose_columns, task, columns, TOPICS, {}, given).startswith(says)


@pytest.mark.parametrize(
    ("names", "evaluation", "calibration", "chosen"),
    [
        (["train", "validation", "test"], None, None, ("validation", "train")),
        (["test", "train"], None, None, ("test", "train")),
        (["validation", "test"], None, None, ("validation", "test")),
        (["train", "validation_matched", "validation_mismatched"], None, None, ("validation_matched", "train")),
        (["train"], None, None, ("train.shuffle(0)[25%:]", "train.shuffle(0)[:25%]")),
        (["test"], None, None, ("test.shuffle(0)[25%:]", "test.shuffle(0)[:25%]")),
        (["train", "dev"], "train", None, ("train", "dev")),
        (["train", "dev"], None, "dev", None),
        (["train", "dev", "test"], None, "dev", ("test", "dev")),
        (["train"], "train[:50%]", "train[50%:]", ("train[:50%]", "train[50%:]")),
        (["first", "second"], None, None, None),
    ],
)
def test_splits(names, evaluation, calibration, chosen):
    if chosen is None:
        assert refused(guesses.choose_splits, names, evaluation, calibration).startswith("--eval-split: ")
    else:
        assert guesses.choose_splits(names, evaluation, calibration) == chosen


def test_lengths_are_those_of_the_data():
    assert guesses.lengths_of([*range(1, 101)], None) == [64, 96]
    assert guesses.lengths_of([*range(1, 101)], 80) == [64, 80]
    assert guesses.lengths_of([5] * 10, 512) == [16]
    assert guesses.lengths_of([600] * 10, 512) == [512]

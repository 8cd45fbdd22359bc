"""Data of rankings as people have them: configurations of the hub, and tables with a row per pair or triple."""

import json

import pytest
from datasets import Dataset
from tests.support import hub_layouts
from tests.support.rankings import KEYS, lines, qrels, write_beir

from quantbench.api import _ranked
from quantbench.api._guesses import Given
from quantbench.errors import BadInput
from quantbench.schema.settings import Dataset as Settings
from quantbench.sources.columns import columns_of, comes_again
from quantbench.sources.datasets import load_split, split_names

PAIRS = {"query": "query", "passages": "passage"}
TRIPLES = {"query": "anchor", "positive": "positive", "negative": "negative"}


@pytest.fixture(scope="module")
def beir(tmp_path_factory):
    return write_beir(tmp_path_factory.mktemp("beir") / "data", queries=8, passages=20)


def joined(path, split="test", **further):
    dataset = Settings(path=str(path), data_keys=dict(KEYS), ref_keys=("relevance",), **further)
    return load_split(dataset, split, "dataset.eval_split")


@pytest.mark.parametrize("layout", [hub_layouts.as_mteb, hub_layouts.as_beir])
@pytest.mark.parametrize("split", ["test", "train[:3]+test[50%:]", "test.shuffle(0)[25%:]"])
def test_layouts_of_the_hub_are_read_as_the_folder_is(beir, layout, split, tmp_path):
    folder = layout(beir, tmp_path / "set")
    assert joined(folder, split).to_list() == joined(beir, split).to_list()
    assert sorted(split_names(Settings(path=str(folder)))) == ["test", "train"]


def test_a_language_of_a_set_is_named(beir, tmp_path):
    folder = hub_layouts.as_mteb(beir, tmp_path / "set", "en-", "qrels")
    assert joined(folder, name="en").to_list() == joined(beir).to_list()
    assert split_names(Settings(path=str(folder), name="en")) == ["train", "test"]


def test_judgments_without_scores_say_relevant_and_each_split_has_its_own_texts(beir, tmp_path):
    rows = joined(hub_layouts.as_nano(beir, tmp_path / "set")).to_list()
    wanted = {query: {name for name, grade in grades.items() if grade} for query, grades in qrels(beir, "test").items()}
    found = {row["query_id"]: {passage["id"] for passage in row["passages"]} for row in rows}
    assert found == {query: names for query, names in wanted.items() if names}
    assert {grade for row in rows for grade in row["relevance"]} == {1}


def test_what_a_first_stage_found_stands_beside_what_is_judged(beir, tmp_path):
    first = {"test-1": ["d0", "d1", "d2"], "test-2": ["d7"]}
    rows = joined(hub_layouts.as_reranking(beir, tmp_path / "set", first)).to_list()
    for row in rows:
        judged = qrels(beir, "test")[row["query_id"]]
        grades = dict(zip((passage["id"] for passage in row["passages"]), row["relevance"], strict=True))
        assert grades == {**dict.fromkeys(first.get(row["query_id"], ()), 0), **judged}


def without(table):
    def change(tables):
        del tables[table]

    return change


def another(table, split, rows):
    def change(tables):
        tables[table] = {split: rows}

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("default"), "no judgments: neither default nor qrels.*set-qrels' cannot be had"),
        (another("default", "test", [{"query-id": "q", "corpus-id": "d", "score": 0.5}]), "row 1 .* whole number"),
        (another("default", "test", [{"query-id": "z", "corpus-id": "d", "score": 1}]), "configuration queries of"),
        (another("default", "test", [{"query": "q", "corpus": "d"}]), "no column 'query-id'; it has query, corpus"),
        (another("corpus", "test", [{"docid": "d", "text": "a"}]), "columns docid, text; it needs _id or id, and text"),
        (another("corpus", "test", [{"_id": "d", "text": None}, {"_id": "e", "text": "a"}]), "row 1 .*lacks _id or te"),
        (another("instruction", "test", [{"query-id": "q", "instruction": "a"}]), "instructions to its queries"),
    ],
)
def test_a_set_that_lacks_something_is_refused_with_what_it_lacks(change, words, tmp_path):
    tables = {
        "corpus": {"test": [{"_id": "d", "text": "a"}]},
        "queries": {"test": [{"_id": "q", "text": "b"}]},
        "default": {"test": [{"query-id": "q", "corpus-id": "d", "score": 1}]},
    }
    change(tables)
    with pytest.raises(BadInput, match=words):
        joined(hub_layouts.write_configurations(tmp_path / "set", tables))


def test_a_folder_is_read_anew_where_its_files_changed(tmp_path):
    tables = {
        "corpus": {"test": [{"_id": "d", "text": "a"}]},
        "queries": {"test": [{"_id": "q", "text": "b"}]},
        "default": {"test": [{"query-id": "q", "corpus-id": "d", "score": 1}]},
    }
    folders = [tmp_path / "one" / "set", tmp_path / "two" / "set", tmp_path / "one" / "set"]
    for grade, folder in enumerate(folders):
        tables["default"]["test"][0]["score"] = grade
        assert joined(hub_layouts.write_configurations(folder, tables))["relevance"][:] == [[grade]]


def test_each_split_must_have_its_texts(tmp_path):
    judged = [{"query-id": "q", "corpus-id": "d", "score": 1}]
    tables = {
        "corpus": {"one": [{"_id": "d", "text": "a"}], "two": [{"_id": "d", "text": "a"}]},
        "queries": {"queries": [{"_id": "q", "text": "b"}]},
        "default": {"test": judged},
    }
    folder = hub_layouts.write_configurations(tmp_path / "set", tables)
    with pytest.raises(BadInput, match=r"corpus of .* has no split 'test'; it has one, two"):
        joined(folder)


def table(tmp_path, rows, keys, refs=(), split="train"):
    lines(tmp_path / "rows.jsonl", rows)
    return load_split(Settings(path=str(tmp_path / "rows.jsonl"), data_keys=keys, ref_keys=refs), split, "key")


GROUPED = {
    "pairs": (
        [("a", "x", 1), ("b", "x", 0), ("a", "y", 0), ("a", "x", 1)],
        ("query", "passage", "label"),
        PAIRS,
        ("label",),
        [
            {"query": "a", "passage": ["x", "y"], "label": [1, 0]},
            {"query": "b", "passage": ["x"], "label": [0]},
        ],
    ),
    "pairs by the ids of queries": (
        [("1", "a", "x", 1), ("2", "a", "y", 1), ("1", "a", "z", 0)],
        ("qid", "query", "passage", "label"),
        {**PAIRS, "query_id": "qid"},
        ("label",),
        [
            {"qid": "1", "query": "a", "passage": ["x", "z"], "label": [1, 0]},
            {"qid": "2", "query": "a", "passage": ["y"], "label": [1]},
        ],
    ),
    "triples": (
        [("a", "x", "y"), ("a", "x", "z"), ("b", "z", "x"), ("a", "z", "x")],
        ("anchor", "positive", "negative"),
        TRIPLES,
        (),
        [
            {"anchor": "a", "positive": ["x", "z"], "negative": ["y"]},
            {"anchor": "b", "positive": ["z"], "negative": ["x"]},
        ],
    ),
    "triples of different queries": (
        [("a", "x", "y"), ("b", "x", "z")],
        ("anchor", "positive", "negative"),
        TRIPLES,
        (),
        [
            {"anchor": "a", "positive": "x", "negative": "y"},
            {"anchor": "b", "positive": "x", "negative": "z"},
        ],
    ),
    "numbered negatives": (
        [("a", "x", "y", "z"), ("b", "x", "z", None)],
        ("anchor", "positive", "negative_1", "negative_2"),
        {**TRIPLES, "negative": "negative_*"},
        (),
        [{"negative_*": ["y", "z"]}, {"negative_*": ["z"]}],
    ),
    "a positive and a list of negatives": (
        [("a", "x", ["y"]), ("a", "w", ["y", "z"])],
        ("anchor", "positive", "negative"),
        TRIPLES,
        (),
        [{"anchor": "a", "positive": ["x", "w"], "negative": ["y", "z"]}],
    ),
}


@pytest.mark.parametrize("name", GROUPED)
def test_a_row_per_pair_or_triple_becomes_a_row_per_query(name, tmp_path):
    rows, columns, keys, refs, wanted = GROUPED[name]
    found = table(tmp_path, [dict(zip(columns, row, strict=True)) for row in rows], keys, refs).to_list()
    assert [{column: row[column] for column in wanted[0]} for row in found] == wanted


def test_slices_never_part_the_passages_of_a_query(tmp_path):
    rows = [{"query": f"q{n % 10}", "passage": f"p{n}", "label": n % 3 == 0} for n in range(40)]
    parts = [table(tmp_path, rows, PAIRS, ("label",), f"train.shuffle(0){part}") for part in ("[:30%]", "[30%:]")]
    names = [part["query"][:] for part in parts]
    assert (len(names[0]), len(names[1])) == (3, 7)
    assert sorted(names[0] + names[1]) == sorted({row["query"] for row in rows})
    assert {len(cell) for part in parts for cell in part["passage"][:]} == {4}


@pytest.mark.parametrize(
    ("rows", "keys", "words"),
    [
        ([("a", "x", 1), ("a", "x", 0)], PAIRS, "row 2 judges a passage for its query once more and otherwise"),
        ([("a", "x", 1), (None, "x", 0)], PAIRS, "row 2 has no text in column 'query'"),
        ([("a", "x", 1), ("b", None, 0)], PAIRS, "row 2 has no passage"),
        ([("a", "x", 1), ("b", "y", 1)], {**PAIRS, "query_id": "label"}, "row 2 has the id 1 of another query"),
    ],
)
def test_pairs_that_contradict_or_lack_something_are_refused(rows, keys, words, tmp_path):
    with pytest.raises(BadInput, match=words):
        table(tmp_path, [dict(zip(("query", "passage", "label"), row, strict=True)) for row in rows], keys, ("label",))


@pytest.mark.parametrize("label", [None, -1])
def test_pairs_without_any_label_have_none(label, tmp_path):
    rows = [{"query": "a", "passage": text, "label": label} for text in ("x", "y")]
    rows[0]["label"] = rows[0]["label"] or -1
    assert table(tmp_path, rows, PAIRS, ("label",)).to_list() == [{"query": "a", "passage": ["x", "y"], "label": None}]


RERANKER, EMBEDDER = ({"architectures": [kind]} for kind in ("BertForSequenceClassification", "BertModel"))
DECIDED = {
    "pairs": (
        {"query": ["a", "a"], "passage": ["x", "y"], "label": [0, 1]},
        {"query": "query", "passages": "passage"},
        ("label",),
    ),
    "answers to questions": (
        {"question": ["a", "a"], "answer": ["x", "y"], "label": [False, True]},
        {"query": "question", "passages": "answer"},
        ("label",),
    ),
    "lists in a record": (
        {"query": ["a"], "passages": [{"is_selected": [0, 1], "passage_text": ["x", "y"], "url": ["1", "2"]}]},
        {"query": "query", "passages": "passages.passage_text"},
        ("passages.is_selected",),
    ),
    "numbered negatives": (
        {"anchor": ["a"], "positive": ["x"], "negative_1": ["y"], "negative_2": ["z"]},
        {"query": "anchor", "positive": "positive", "negative": "negative_*"},
        (),
    ),
}


@pytest.mark.parametrize("name", DECIDED)
def test_flat_data_of_rankings_are_recognized(name):
    given, keys, refs = DECIDED[name]
    data = Dataset.from_dict(given)
    found = columns_of(data)

    def again(column):
        return comes_again(data, column)

    assert _ranked.task_of("text-classification", RERANKER, ["LABEL_0"], found, again) == "reranking"
    assert _ranked.task_of("feature-extraction", EMBEDDER, ["a", "b"], found, again) == "retrieval"
    chosen = _ranked.choose_columns(found, Given())
    assert (dict(chosen.data_keys), chosen.ref_keys) == (keys, refs)


@pytest.mark.parametrize(
    "given",
    [
        {"query": ["a", "b"], "passage": ["x", "y"], "label": [0, 1]},
        {"query": ["a", "a"], "passage": ["x", "y"], "label": [0.5, 0.75]},
        {"query": ["a", "a"], "passage": ["x", "y"]},
    ],
    ids=["every query once", "labels that are no whole numbers", "no labels"],
)
def test_pairs_that_may_be_something_else_stay_what_they_were(given):
    data = Dataset.from_dict(given)

    def again(column):
        return comes_again(data, column)

    assert _ranked.task_of("text-classification", RERANKER, ["LABEL_0"], columns_of(data), again) is None
    assert _ranked.task_of("feature-extraction", EMBEDDER, ["a"], columns_of(data), again) is None


def test_the_option_that_settles_columns_is_named():
    found = columns_of(Dataset.from_dict({"query": ["a"], "passage": ["x"], "one": [1], "two": [2]}))
    with pytest.raises(BadInput, match="--label-column: which column holds the relevance"):
        _ranked.choose_columns(found, Given())
    assert _ranked.choose_columns(found, Given(labels=("two",))).ref_keys == ("two",)
    chosen = _ranked.choose_columns(found, Given(texts=("passage", "query"), labels=("one",)))
    assert dict(chosen.data_keys) == {"query": "passage", "passages": "query"}


def test_objects_are_passages_of_pairs_too(tmp_path):
    rows = [{"query": "a", "passage": {"id": str(n), "text": "x"}, "label": n} for n in (0, 1)]
    found = table(tmp_path, rows, PAIRS, ("label",)).to_list()
    assert json.loads(json.dumps(found)) == [
        {"query": "a", "passage": [row["passage"] for row in rows], "label": [0, 1]}
    ]

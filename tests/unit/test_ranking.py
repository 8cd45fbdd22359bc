"""Measures of rankings are those of pytrec_eval, ties and all; columns are read as people write them."""

import json

import numpy as np
import pytest
import pytrec_eval
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rankings import lines, qrels, texts_of, write_beir

import quantbench as qb
from quantbench.api import _ranked
from quantbench.api._guesses import Given
from quantbench.config.load import build_config
from quantbench.errors import BadInput
from quantbench.pipeline.rows import Split, overlap
from quantbench.schema.settings import Dataset as DatasetSettings
from quantbench.served import queries
from quantbench.served import retrieval as served
from quantbench.sources import joined, judgments
from quantbench.sources.cells import READ, Unusable, Within, whole
from quantbench.sources.columns import columns_of
from quantbench.sources.datasets import load_split, split_names
from quantbench.tasks import _ranking, reranking, retrieval

DEPTHS = (1, 3, 5, 10)
NEAR = 1e-9


def by_trec(judged, run, depth):
    """nDCG, MRR and recall at a depth, and the mean precision, of one query."""
    names = {f"ndcg_cut_{depth}", "recip_rank", f"recall_{depth}", "map"}
    found = pytrec_eval.RelevanceEvaluator({"q": judged}, names).evaluate({"q": run})["q"]
    first = found["recip_rank"]
    return [found[f"ndcg_cut_{depth}"], first if first * depth >= 1 - NEAR else 0.0, found[f"recall_{depth}"]], found[
        "map"
    ]


names = st.lists(st.text("0123456789abzA_é-", min_size=1, max_size=4), min_size=1, max_size=30, unique=True)
scores = st.one_of(
    st.sampled_from([0.0, 0.5, 0.5 + 1e-12, 0.5 + 1e-7, -1.0]), st.floats(-1, 1, width=32), st.floats(-1, 1)
)


@st.composite
def searches(draw):
    """Passages by id with their scores, and grades of some, of which a few are not there."""
    there = draw(names)
    run = {name: draw(scores) for name in there}
    judged = draw(st.lists(st.sampled_from(there), max_size=12, unique=True))
    grades = {name: draw(st.integers(-1, 3)) for name in judged}
    absent = {f"gone {number}": draw(st.integers(0, 3)) for number in range(draw(st.integers(0, 2)))}
    return run, grades, absent


@given(searches(), st.sampled_from(DEPTHS))
@settings(max_examples=150, deadline=None)
def test_measures_are_those_of_pytrec_eval(search, depth):
    run, grades, absent = search
    order = sorted(run, key=str.encode)
    truth = _ranking.Truth({order.index(name): grade for name, grade in grades.items()}, list(absent.values()))
    ranking = queries.ranked(np.array([run[name] for name in order]))
    wanted, precision = by_trec({**grades, **absent} or {"nothing": 0}, run, depth)
    assert _ranking.values(ranking, truth, [depth]) == pytest.approx(wanted, abs=NEAR)
    assert _ranking.mean_precision(ranking, truth) == pytest.approx(precision, abs=NEAR)


@given(st.lists(scores, min_size=1, max_size=40), st.integers(1, 45))
def test_the_first_of_a_ranking_are_those_of_the_whole(values, depth):
    whole_ranking = queries.ranked(np.array(values))
    assert queries.ranked(np.array(values), depth).tolist() == whole_ranking[:depth].tolist()
    assert sorted(whole_ranking) == list(range(len(values)))


def test_equal_scores_gain_nothing_by_the_order_of_a_list():
    assert queries.order([1.0, 1.0, 2.0, 1.0]) == [2, 3, 1, 0]


def test_measures_are_means_over_queries_that_weigh():
    columns, outcomes = ("ndcg_at_10", "map"), np.array([[1.0, 0.5], [0.0, 0.1], [0.5, 0.0]])
    qb.check_task("retrieval", outcomes=[(columns, outcomes)])
    qb.check_task("reranking", outcomes=[(columns, outcomes)])
    assert retrieval.metrics(columns, outcomes, np.array([2, 0, 1]))["ndcg_at_10"] == pytest.approx(2.5 / 3)


def settings_of(task, keys, refs=("relevance",), **args):
    data = {"path": "-", "data_keys": keys, "ref_keys": list(refs)}
    given = {"task": task, "model_name_or_path": "-", "dataset": data, "task_args": args}
    return build_config(given, {}, "test.yaml").base


LISTS = {"query": "query", "passages": "passages"}


@pytest.mark.parametrize("task", [retrieval, reranking])
def test_depths_name_the_metrics_and_the_limit(task):
    name = task.__name__.rpartition(".")[2]
    base = settings_of(name, LISTS, k=[5, 100])
    assert {"ndcg_at_5", "mrr_at_5", "recall_at_100"} <= set(task.known_metrics(base))
    assert task.default_limit(base) == ("ndcg_at_5", 0.005)
    assert settings_of(name, LISTS, k=3).task_args.k == [3]
    assert task.default_limit(settings_of(name, LISTS)) == ("ndcg_at_10", 0.005)
    with pytest.raises(BadInput, match=r"task_args\.k"):
        settings_of(name, LISTS, k=7)


ROWS = {
    "lists of texts": ({"query": ["a"], "passages": [["x", "y"]], "relevance": [[0, 2]]}, LISTS, [[0, 2]]),
    "grades as texts, numbers and truth": (
        {"query": ["a"], "passages": [["x", "y"]], "relevance": [["1", "0"]]},
        LISTS,
        [[1, 0]],
    ),
    "grades as floats": ({"query": ["a"], "passages": [["x", "y"]], "relevance": [[1.0, 0.0]]}, LISTS, [[1, 0]]),
    "truth": ({"query": ["a"], "passages": [["x", "y"]], "relevance": [[True, False]]}, LISTS, [[1, 0]]),
    "passages with titles and ids": (
        {
            "query": ["a"],
            "passages": [[{"docid": "7", "title": "t", "text": "x"}, {"docid": "8", "title": "", "text": "y"}]],
            "relevance": [[1, 0]],
        },
        LISTS,
        [[1, 0]],
    ),
    "nothing judged": (
        {"query": ["a", "b", "c"], "passages": [["x"], [], ["z"]], "relevance": [None, [], [1]]},
        LISTS,
        [None, None, [1]],
    ),
    "a positive and a negative": (
        {"query": ["a"], "pos": ["x"], "neg": ["y"]},
        {"query": "query", "positive": "pos", "negative": "neg"},
        [[1, 0]],
    ),
    "positives and negatives": (
        {"query": ["a", "b"], "pos": [["x", "z"], []], "neg": [["y"], []]},
        {"query": "query", "positive": "pos", "negative": "neg"},
        [[1, 1, 0], None],
    ),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("task", [retrieval, reranking])
def test_columns_are_read(name, task):
    table, keys, wanted = ROWS[name]
    data = Dataset.from_dict(table)
    refs = ("relevance",) if "passages" in keys else ()
    base = settings_of(task.__name__.rpartition(".")[2], keys, refs)
    assert task.check(base, data.features, "test", []) == []
    assert task.references(base, data, []) == wanted


def test_a_title_stands_before_its_passage_and_ids_are_kept():
    data = Dataset.from_dict(ROWS["passages with titles and ids"][0])
    (row,) = judgments.read(settings_of("retrieval", LISTS), data.add_column(READ, [[1, 0]]))
    assert row.passages == (("7", "t x"), ("8", "y"))
    assert row.grades == (1, 0)
    (bare,) = judgments.read(settings_of("retrieval", LISTS), data)
    assert bare.grades == (0, 0)


@pytest.mark.parametrize(
    ("relevance", "words"),
    [([[1]], "2 passages and 1 values"), ([[1, 0.5]], "is a whole number"), ([["1", "yes"]], "is a whole number")],
)
def test_grades_that_are_none_are_refused(relevance, words):
    data = Dataset.from_dict({"query": ["a"], "passages": [["x", "y"]], "relevance": relevance})
    with pytest.raises(Unusable, match=words):
        retrieval.references(settings_of("retrieval", LISTS), data, [])


@pytest.mark.parametrize(
    ("task", "keys", "refs", "table", "words"),
    [
        (retrieval, {"query": "query"}, (), {"query": ["a"]}, "either passages"),
        (retrieval, LISTS, (), {"query": ["a"], "passages": [["x"]]}, "needs one column"),
        (retrieval, LISTS, ("relevance",), {"query": ["a"], "passages": ["x"], "relevance": [[1]]}, "list of passages"),
        (retrieval, LISTS, ("relevance",), {"query": ["a"], "passages": [["x"]], "relevance": [1]}, "list of whole"),
        (retrieval, LISTS, ("relevance",), {"query": [["a"]], "passages": [["x"]], "relevance": [[1]]}, "hold a text"),
        (
            retrieval,
            LISTS,
            ("relevance",),
            {"query": ["a"], "passages": [["x"]], "relevance": [[1]], "corpus": [["y"]]},
            "add corpus: corpus",
        ),
        (
            reranking,
            {"query": "query", "positive": "p"},
            (),
            {"query": ["a"], "p": ["x"]},
            "nothing to rank them above",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused(task, keys, refs, table, words):
    base = settings_of(task.__name__.rpartition(".")[2], keys, refs)
    found = task.check(base, Dataset.from_dict(table).features, "test", [])
    assert any(words in message for _, message in found), found


@pytest.mark.parametrize(
    ("labels", "args", "relevant", "words"),
    [
        (("LABEL_0",), {}, None, None),
        (("no", "Yes"), {}, 1, None),
        (("relevant", "irrelevant"), {}, 0, None),
        (("LABEL_0", "LABEL_1"), {}, None, "task_args.relevant_label"),
        (("LABEL_0", "LABEL_1"), {"relevant_label": "LABEL_1"}, 1, None),
        (("LABEL_0", "LABEL_1"), {"relevant_label": "good"}, None, "no label of the model"),
        (("LABEL_0",), {"relevant_label": "LABEL_0"}, None, "remove it"),
        (("a", "b", "c"), {}, None, "has 3 labels"),
    ],
)
def test_a_reranker_has_one_output_or_a_label_that_says_relevant(labels, args, relevant, words):
    base, config = settings_of("reranking", LISTS, **args), {"id2label": dict(enumerate(labels))}
    found = reranking.check_model(base, config)
    if words is None:
        assert found == []
        assert reranking.serving(base, None, config) == {"relevant": relevant}
    else:
        assert words in found[0][1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_beir(tmp_path_factory.mktemp("beir") / "data")


def load(folder, split):
    keys = dict(joined.COLUMNS)
    return load_split(DatasetSettings(path=str(folder), data_keys=keys, ref_keys=("relevance",)), split, "key")


def test_a_folder_of_the_beir_layout_is_read_whole(folder):
    assert split_names(DatasetSettings(path=str(folder))) == ["test", "train"]
    texts, asked, judged = texts_of(folder, "corpus.jsonl"), texts_of(folder, "queries.jsonl"), qrels(folder, "test")
    for split in ("test", "test.shuffle(0)[25%:]"):
        data = load(folder, split)
        rows = data.to_list()
        found = {
            row["query_id"]: dict(zip((p["id"] for p in row["passages"]), row["relevance"], strict=True))
            for row in rows
        }
        assert found == {name: judged[name] for name in found}
        assert all(row["query"] == asked[row["query_id"]] for row in rows)
        there = {p["id"]: p["text"] for row in rows for p in (*row["passages"], *row["corpus"])}
        assert there == {**texts, "gone": None} or there == texts
    assert len(load(folder, "test")) == len(judged)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nnobody\td1\t1\n", "line 2 .*'nobody'.*queries.jsonl does not"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\ntest-1\td1\tgood\n", "line 2 of .* is no judgment"),
        ("qrels/test.tsv", "test-1\td1\t1\ntest-1\td1\t2\n", "once more and otherwise"),
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}\n', "line 2 .* once more"),
        ("corpus.jsonl", '{"_id": "d1"}\n', "lacks _id or text"),
        ("queries.jsonl", "[1]\n", "no JSON object"),
    ],
)
def test_a_broken_folder_is_refused_at_its_line(file, content, words, tmp_path):
    broken = write_beir(tmp_path / "data", queries=4, passages=8)
    (broken / file).write_text(content)
    with pytest.raises(BadInput, match=words):
        load(broken, "test")


def test_judgments_may_have_no_header_and_be_json_lines(tmp_path):
    made = write_beir(tmp_path / "data", queries=4, passages=8)
    (made / "qrels" / "test.tsv").write_text("test-1\td1\t1\n")
    assert load(made, "test")["relevance"][:] == [[1]]
    (made / "qrels" / "test.tsv").unlink()
    lines(made / "qrels" / "test.jsonl", [{"query-id": "test-2", "corpus-id": "d1", "score": 2}])
    assert load(made, "test")["query_id"][:] == ["test-2"]
    with pytest.raises(BadInput, match="no split 'dev'"):
        load(made, "dev")


def test_the_corpus_is_no_reason_to_call_rows_alike_or_not():
    dataset = DatasetSettings(path="-", data_keys={**LISTS, "corpus": "corpus"}, calibration_split="train")
    tables = [
        Dataset.from_dict({"query": ["a"], "passages": [["x"]], "corpus": [[text]]}) for text in ("one", "another")
    ]
    assert "1 of 1 rows" in overlap(dataset, *(Split(table, "") for table in tables))[0]


def test_rows_know_their_whole_split():
    data = Dataset.from_dict({"query": ["a", "b"]})
    part = Within(data.select([1]), data)
    assert (len(part), part["query"][:], part.column_names, len(whole(part))) == (1, ["b"], ["query"], 2)
    assert whole(data) is data


def never(name):
    """No cell comes again."""
    return False


TABLES = {
    "lists": ({"query": ["a"], "passages": [["x", "y"]], "relevance": [[0, 1]]}, LISTS, ("relevance",)),
    "documents and labels": (
        {"id": ["1"], "question": ["a"], "documents": [["x", "y"]], "labels": [[0, 1]]},
        {"query": "question", "passages": "documents"},
        ("labels",),
    ),
    "a triplet": (
        {"anchor": ["a"], "positive": ["x"], "negative": ["y"]},
        {"query": "anchor", "positive": "positive", "negative": "negative"},
        (),
    ),
    "lists of negatives": (
        {"query": ["a"], "positive": [["x"]], "negative": [["y", "z"]]},
        {"query": "query", "positive": "positive", "negative": "negative"},
        (),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_data_of_rankings_are_recognized(name):
    table, keys, refs = TABLES[name]
    found = columns_of(Dataset.from_dict(table))
    classifier, encoder = ({"architectures": [kind]} for kind in ("BertForSequenceClassification", "BertModel"))
    assert _ranked.task_of("text-classification", classifier, ["LABEL_0"], found, never) == "reranking"
    assert _ranked.task_of("text-classification", classifier, ["LABEL_0", "LABEL_1"], found, never) is None
    assert _ranked.task_of("feature-extraction", encoder, ["LABEL_0", "LABEL_1"], found, never) == "retrieval"
    chosen = _ranked.choose_columns(found, Given())
    assert (dict(chosen.data_keys), chosen.ref_keys) == (keys, refs)


def test_other_data_are_not_of_rankings():
    found = columns_of(Dataset.from_dict({"query": ["a"], "title": ["b"], "label": [1]}))
    assert _ranked.task_of("feature-extraction", {"architectures": ["BertModel"]}, ["a", "b"], found, never) is None
    with pytest.raises(BadInput, match="two columns"):
        _ranked.choose_columns(found, Given())


def test_a_deployed_row_may_hold_one_passage_or_several():
    assert queries.passages({"query": "a", "passages": "x"}) == ["x"]
    assert queries.passages({"query": "a", "passages": ["x", {"title": "t", "text": "y"}]}) == ["x", "t y"]
    assert queries.problem(["x", 3]) == "is neither a text nor a list of texts"
    assert queries.problem(json.loads('[{"text": "x"}]')) is None


def test_similarities_are_cosines_or_products():
    first, second = np.array([[3.0, 4.0]]), np.array([[4.0, 3.0], [0.0, 0.0]])
    assert served.similarities(first, second, "cosine").tolist() == [[pytest.approx(24 / 25), 0.0]]
    assert served.similarities(first, second, "dot").tolist() == [[24.0, 0.0]]


def test_a_reader_is_shown_the_best_passage_first():
    answer = {"scores": [0.25, 0.5], "order": queries.order([0.25, 0.5])}
    assert queries.show(answer, {"passages": ["x", "y"]}) == "0.5000\ty\n0.2500\tx"


def test_a_query_that_is_no_text_is_named():
    with pytest.raises(ValueError, match="example 2: query is not a text"):
        queries.asked([{"query": "a"}, {"query": ["b"]}])


def test_a_folder_of_the_beir_layout_has_no_names(folder):
    with pytest.raises(BadInput, match="remove it"):
        load_split(DatasetSettings(path=str(folder), name="scifact"), "test", "key")

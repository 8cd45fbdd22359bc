"""Models that search and rerank: scored as the libraries and pytrec_eval score them, run, deployed and decided."""

import json

import numpy as np
import onnx
import pytest
import torch
import yaml
from tests.integration.test_served import run
from tests.support import hub_layouts, rankings, stages
from tests.support.command import quantbench
from tests.support.deployed import deployed
from tests.support.rankings import (
    by_cross_encoder,
    by_sentence_transformers,
    write_beir,
    write_lists,
    write_reranker,
    write_searcher,
)
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import quantbench as qb
from quantbench.config.load import build_config

NEAR = 1e-9
FLOAT = {"quantization_approach": "none", "batch_sizes": []}
SINGLE = ("quantization_approach=dynamic", "per_channel=false")
UNTIMED = {"batch_sizes": []}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    root = tmp_path_factory.mktemp("searched")
    write_searcher(root / "model")
    write_beir(root / "data")
    return root


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranked")
    write_reranker(root / "model")
    return root, write_lists(root / "data")


def outcomes(settings, context):
    """Values by name of every query, of the original."""
    base = build_config(settings, {}, "test.yaml").base
    scores = stages.scores(stages.original(base, context), base, context)
    return scores, [dict(zip(scores.columns, row, strict=True)) for row in scores.outcomes]


def same(found, wanted):
    """Outcomes of a query are those of pytrec_eval; of its first relevant place only those that are among ten."""
    first = wanted["recip_rank"]
    assert found["ndcg_at_10"] == pytest.approx(wanted["ndcg_cut_10"], abs=NEAR)
    assert found["mrr_at_10"] == pytest.approx(first if first > 0.0999 else 0, abs=NEAR)
    assert found["recall_at_10"] == pytest.approx(wanted["recall_10"], abs=NEAR)
    if "map" in found:
        assert found["map"] == pytest.approx(wanted["map"], abs=NEAR)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_search_scores_as_sentence_transformers_and_pytrec_eval_say(similarity, searched, tmp_path):
    settings = rankings.of_beir(searched, "retrieval", task_args={"similarity": similarity})
    scores, found = outcomes(settings, stages.context_at(tmp_path / "cache"))
    wanted = by_sentence_transformers(searched, similarity)
    assert len(found) == len(wanted) == 24
    for query, values in zip(wanted, found, strict=True):
        same(values, wanted[query])
    assert scores.metrics["ndcg_at_10"] == pytest.approx(np.mean([row["ndcg_cut_10"] for row in wanted.values()]))
    assert 0.05 < scores.metrics["ndcg_at_10"] < 0.95
    assert (scores.changed, scores.metrics["cosine"]) == (0, pytest.approx(1))


def test_few_queries_are_looked_for_in_the_whole_corpus(searched, tmp_path):
    context = stages.context_at(tmp_path / "cache")
    settings = rankings.of_beir(searched, "retrieval", max_eval_samples=5)
    _, found = outcomes(settings, context)
    wanted = list(by_sentence_transformers(searched).values())[:5]
    for values, expected in zip(found, wanted, strict=True):
        same(values, expected)
    examples = stages.examples(build_config(settings, {}, "test.yaml").base, context)
    assert set(range(5)) < set(examples.samples), "every query stands for itself"
    assert len(examples.samples) <= 10, "with one of its passages"
    notes = "\n".join(examples.notes)
    assert len(examples.inputs) == 5 + 60
    assert "5 queries are looked for in 60 passages, by the cosine" in notes
    assert "without a relevant passage, which count as 0 as for trec_eval: 1 of 5" in notes
    assert "which count as missed where they are relevant: 1, the first is 'gone'" in notes
    assert "the passage of the same id is not ranked, as in BEIR: 1" in notes
    assert "Before every passage stands the prompt 'Anna : '" in notes


def test_a_reranker_scores_as_cross_encoders_and_pytrec_eval_say(ranked, tmp_path):
    root, rows = ranked
    _, found = outcomes(rankings.of_lists(root, "reranking"), stages.context_at(tmp_path / "cache"))
    wanted = by_cross_encoder(root / "model", rows)
    assert len(found) == len(wanted)
    for values, expected in zip(found, wanted, strict=True):
        same(values, expected)


def test_of_two_labels_the_relevant_one_counts(ranked, tmp_path):
    root, rows = ranked
    write_reranker(tmp_path / "model", ("no", "yes"))
    (tmp_path / "data").symlink_to(root / "data")
    base = build_config(rankings.of_lists(tmp_path, "reranking"), {}, "test.yaml").base
    context = stages.context_at(tmp_path / "cache")
    found = stages.predictions(stages.original(base, context), base, context).rows
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    pairs = [(row["query"], passage) for row in rows for passage in row["passages"]]
    with torch.inference_mode():
        logits = model(**tokenizer(pairs, padding=True, return_tensors="pt")).logits.softmax(-1)
    assert np.asarray(found)[:, 0] == pytest.approx((logits[:, 1] / logits[:, 0]).log().numpy(), abs=1e-4)


def test_positives_and_negatives_are_searched_in_all_passages_of_the_split(searched, tmp_path):
    rows = write_lists(tmp_path / "data")
    kept = [{"query": row["query"], "positive": row["passages"][0], "negative": row["passages"][1:]} for row in rows]
    rankings.lines(tmp_path / "rows.jsonl", kept)
    (tmp_path / "model").symlink_to(searched / "model")
    keys = {"query": "query", "positive": "positive", "negative": "negative"}
    settings = rankings.of_lists(tmp_path, "retrieval", keys, task_args={"k": [1, 10]})
    settings["dataset"] |= {"path": str(tmp_path / "rows.jsonl"), "eval_split": "train", "calibration_split": None}
    scores, _ = outcomes(settings, stages.context_at(tmp_path / "cache"))
    texts = {text for row in rows for text in row["passages"]}
    assert scores.metrics.keys() == {*(f"{m}_at_{k}" for m in ("ndcg", "mrr", "recall") for k in (1, 10)), "cosine"}
    context = stages.context_at(tmp_path / "cache")
    assert len(stages.examples(build_config(settings, {}, "test.yaml").base, context).inputs) == len(rows) + len(texts)


def answers_of(folder, rows, cwd):
    (cwd / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    done = run(folder, "--jsonl", "rows.jsonl", cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def test_a_deployed_search_answers_as_it_was_scored(searched, tmp_path):
    (tmp_path / "model").symlink_to(searched / "model")
    rows = write_lists(tmp_path / "data")
    settings = rankings.of_lists(tmp_path, "retrieval", quantization_approach="static", batch_sizes=[])
    folder, examples, found = deployed(tmp_path, settings)
    answers = answers_of(folder, rows, tmp_path)
    for number, answer in enumerate(answers):
        members = [found[examples.queries + member] for member in examples.members[number]]
        assert answer["query_embedding"] == pytest.approx(found[number], abs=2e-6)
        np.testing.assert_allclose(answer["passage_embeddings"], members, atol=2e-6)
        ordered = [answer["scores"][place] for place in answer["order"]]
        assert ordered == sorted(ordered, reverse=True)


@pytest.mark.slow
def test_a_deployed_reranker_answers_as_it_was_scored(ranked, tmp_path):
    root, rows = ranked
    settings = rankings.of_lists(root, "reranking", quantization_approach="dynamic", batch_sizes=[2])
    folder, _, found = deployed(tmp_path, settings)
    answers = answers_of(folder, rows, tmp_path)
    given = [score for answer in answers for score in answer["scores"]]
    assert given == pytest.approx([row[0] for row in found], abs=1e-5)


@pytest.mark.parametrize("task", ["retrieval", "reranking"])
def test_what_model_and_data_are_for_is_decided(task, searched, ranked):
    if task == "retrieval":
        decided = qb.decide(searched / "model", searched / "data")
        wanted = rankings.of_beir(searched, task)
    else:
        decided = qb.decide(ranked[0] / "model", ranked[0] / "data")
        wanted = rankings.of_lists(ranked[0], task)
    by_hand = build_config(wanted, {}, "by hand").base
    parts = {"task", "task_args", "model_name_or_path", "dataset"}
    assert decided.config.base.model_dump(include=parts) == by_hand.model_dump(include=parts)
    assert "queries with passages in the data" in str(decided)


def test_pairs_are_decided_to_be_rankings_and_cut_between_queries(ranked, tmp_path):
    root, rows = ranked
    pairs = [
        {"question": row["query"], "answer": text, "label": int(grade > 0)}
        for row in rows
        for text, grade in zip(row["passages"], row["relevance"], strict=True)
    ]
    rankings.lines(tmp_path / "pairs.jsonl", pairs)
    decided = qb.decide(root / "model", tmp_path / "pairs.jsonl")
    base = decided.config.base
    assert (base.task, base.dataset.ref_keys) == ("reranking", ("label",))
    assert base.dataset.data_keys == {"query": "question", "passages": "answer"}
    assert "6 rows of train.shuffle(0)[:25%] to calibrate, 18 of train.shuffle(0)[25%:] to evaluate" in str(decided)


def test_a_retrieval_set_is_decided_as_its_folder_is(searched, tmp_path):
    folder = hub_layouts.as_mteb(searched / "data", tmp_path / "set")
    decided = qb.decide(searched / "model", folder).config.base
    by_hand = build_config(rankings.of_beir(searched, "retrieval"), {}, "by hand").base
    assert decided.dataset == by_hand.dataset.model_copy(update={"path": str(folder)})
    assert decided.task == "retrieval"


@pytest.mark.parametrize("task", ["retrieval", "reranking"])
def test_it_runs_whole(task, searched, ranked, tmp_path):
    settings = rankings.of_beir(searched, task) if task == "retrieval" else rankings.of_lists(ranked[0], task)
    grid = {"quantization_approach": ["static", "dynamic"]}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**settings, "batch_sizes": [], "benchmarked": grid}))
    bench = qb.run(qb.load_config(tmp_path / "tiny.yaml"), out=tmp_path / "out")
    assert [result.failure for result in bench] == [None, None]
    card = (tmp_path / "out" / "card.md").read_text()
    assert "ndcg_at_10" in card
    assert ("looked for in 60 passages" if task == "retrieval" else "are ranked, each among those") in card


@pytest.mark.slow
@pytest.mark.parametrize("task", ["retrieval", "reranking"])
def test_it_is_timed_tuned_compared_and_deployed(task, searched, ranked, tmp_path):
    root = searched if task == "retrieval" else ranked[0]
    short = ("batch_sizes=[1]", "input_lengths=[16]", "time_benchmark_args.duration=0.2")
    given = [root / "model", root / "data", *(word for setting in short for word in ("--set", setting))]
    single = [word for setting in SINGLE for word in ("--set", setting)]  # each version has an arm, which takes seconds
    for out in ("one", "two"):
        done = quantbench("run", *given, *single, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f", {task}: " in done.stdout + done.stderr
    done = quantbench("compare", "one", "two", cwd=tmp_path)
    assert done.returncode in (0, 4), done.stderr
    assert "ndcg_at_10" in done.stdout
    limit = ("--max-drop", "ndcg_at_10=0.9", "--only", "onnxruntime-dynamic")
    done = quantbench("tune", *given, "--out", "best", *limit, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ndcg_at_10" in (tmp_path / "best" / "tune.md").read_text()
    (result,) = qb.load_results(tmp_path / "one")
    folder = qb.deploy(result)
    (answer,) = answers_of(folder, [{"query": "the rain", "passages": ["Anna Anna", "the rain"]}], tmp_path)
    assert sorted(answer["order"]) == [0, 1]


@pytest.mark.parametrize("task", ["retrieval", "reranking"])
def test_files_are_checked_by_rankings(task, searched, ranked, tmp_path):
    root = searched if task == "retrieval" else ranked[0]
    settings = rankings.of_beir(root, task, **FLOAT) if task == "retrieval" else rankings.of_lists(root, task, **FLOAT)
    folder, *_ = deployed(tmp_path, settings)
    good = folder / ("onnx/model.onnx" if task == "retrieval" else "model.onnx")
    broken = onnx.load(good)
    weights = max(broken.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = np.random.default_rng(0).permutation(np.frombuffer(weights.raw_data, np.float32)).tobytes()
    onnx.save(broken, tmp_path / "broken.onnx")
    found = qb.check([good, tmp_path / "broken.onnx"], original=root / "model", data=root / "data", set=UNTIMED)
    assert found.config.base.task == task
    keeps, other = found.files
    assert keeps.verdict == "keeps"
    assert keeps.differences["ndcg_at_10"].high == pytest.approx(0, abs=1e-6)
    assert other.verdict != "keeps"
    assert "ndcg_at_10" in str(found)


def test_a_file_of_another_kind_is_not_judged_by_rankings(searched, ranked, tmp_path):
    folder, *_ = deployed(tmp_path, rankings.of_lists(ranked[0], "reranking", **FLOAT))
    found = qb.check(folder / "model.onnx", original=searched / "model", data=searched / "data", set=UNTIMED)
    (file,) = found.files
    assert file.verdict == "not judged"
    assert "logits" in file.reason

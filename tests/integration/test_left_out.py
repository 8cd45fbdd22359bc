"""Timing or evaluation left out: what is measured then, what is not asked for, and what the reports say."""

import json

import pytest
from datasets import Dataset
from tests.support.command import quantbench

import quantbench as qb
from quantbench.config.load import load_config
from quantbench.errors import BadInput
from quantbench.results.store import Store


@pytest.fixture
def without_labels(tiny, tmp_path):
    """A data set of words alone, in one split that is not for evaluation."""
    rows = Dataset.from_parquet(str(tiny / "data" / "conll2003" / "train" / "0000.parquet"))
    (tmp_path / "words").mkdir()
    rows.select_columns(["tokens"]).to_parquet(tmp_path / "words" / "train.parquet")
    return {"path": str(tmp_path / "words"), "data_keys": {"primary": "tokens"}, "ref_keys": ["ner_tags"]}


def run(path, folder, *overrides):
    config = load_config(path, overrides)
    found = qb.run(config, out=folder)
    return len(found.failed), Store(folder).results()


def test_without_evaluation_neither_labels_nor_an_evaluation_split_are_asked_for(
    write_config, without_labels, tmp_path
):
    path = write_config(dataset=without_labels, quantization_approach="dynamic", operators_to_quantize=["MatMul"])
    code, (result,) = run(path, tmp_path / "out", "max_eval_samples=0")
    assert code == 0, result.failure
    assert (result.scores, len(result.latency), set(result.sources)) == ({}, 1, {"model"})
    assert "evaluation" not in result.seconds
    card = (tmp_path / "out" / "card.md").read_text()
    assert "Nothing was evaluated (`max_eval_samples: 0`)" in card
    assert "How much is lost" not in card
    assert "## How much faster" in card
    (row,) = json.loads((tmp_path / "out" / "summary.json").read_text())["runs"]
    assert (row["metrics"], row["difference"], row["changed"]) == ({}, {}, None)


def test_batches_of_the_data_set_still_need_its_examples(write_config, without_labels, tmp_path):
    path = write_config(dataset=without_labels, quantization_approach="dynamic", operators_to_quantize=["MatMul"])
    with pytest.raises(BadInput, match="no split 'validation'"):
        run(path, tmp_path / "out", "max_eval_samples=0", "input_lengths=[dataset]")


def test_the_command_leaves_timing_out_and_a_call_with_timing_is_another_benchmark(write_config, tmp_path):
    path = write_config()
    done = quantbench("run", path, "--out", "out", "--no-timing", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "speedup" not in done.stdout
    assert "Timing" not in done.stderr
    again = quantbench("run", path, "--out", "out", cwd=tmp_path)
    assert again.returncode == 2
    assert "they differ in: batch_sizes" in again.stderr


@pytest.mark.slow
def test_some_runs_of_a_grid_are_evaluated_and_others_not(write_config, tmp_path):
    path = write_config(benchmarked={"max_eval_samples": [0, 20]})
    code, results = run(path, tmp_path / "out")
    assert code == 0
    assert sorted(len(result.scores) for result in results) == [0, 3]
    assert "–" in (tmp_path / "out" / "card.md").read_text()
    done = quantbench("run", path, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("key", "words"), [("batch_sizes=[]", "timing"), ("max_eval_samples=0", "evaluation")])
def test_a_search_needs_both(write_config, tmp_path, key, words):
    done = quantbench("tune", write_config(), "--out", "out", "--set", key, cwd=tmp_path)
    assert done.returncode == 2
    assert f"tune needs {words}" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_leaving_out_both_is_refused(write_config, tmp_path):
    done = quantbench("run", write_config(), "--out", "out", "--no-timing", "--no-evaluation", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing is left to measure" in " ".join(done.stderr.split())

"""Embeddings: those of transformers' pipeline, scored against the original's, alone and in pairs."""

import random

import numpy as np
import pytest
import yaml
from datasets import Dataset, load_dataset
from scipy.stats import spearmanr
from tests.support import stages
from tests.support.command import quantbench
from tests.support.tiny_tasks import write_texts
from transformers import pipeline

from quantbench.config.load import build_config


def write(root, pairs=False, count=40):
    """The model and texts of text classification, with a similarity for pairs; the settings."""
    settings = write_texts(root, pairs=pairs, count=count)
    settings["task"] = "feature-extraction"
    settings["dataset"]["ref_keys"] = ["score"] if pairs else []
    del settings["task_args"]
    if pairs:
        generator = random.Random(1)
        for path in (root / "data").iterdir():
            rows = load_dataset("parquet", data_files=str(path), split="train").to_list()
            scored = [{**row, "score": generator.uniform(0, 5)} for row in rows]
            Dataset.from_list(scored).to_parquet(path)
    return settings


@pytest.fixture
def context(tmp_path):
    return stages.context_at(tmp_path / "cache")


def pooled(root, texts):
    extract = pipeline("feature-extraction", str(root / "model"))
    means = [np.asarray(extract(text))[0].mean(axis=0) for text in texts]
    return np.stack([mean / np.linalg.norm(mean) for mean in means])


def test_embeddings_are_those_of_the_pipeline(context, tmp_path):
    settings = build_config(write(tmp_path, count=500), {}, "test.yaml").base
    found = stages.predictions(stages.original(settings, context), settings, context).rows
    rows = load_dataset("parquet", data_files=str(tmp_path / "data" / "validation.parquet"), split="train")
    assert np.asarray(found) == pytest.approx(pooled(tmp_path, rows["text"]), abs=1e-5)
    scores = stages.scores(stages.original(settings, context), settings, context)
    assert scores.metrics == {"cosine": pytest.approx(1, abs=1e-5), "neighbours_kept": 1.0}
    assert scores.changed == 0


def test_pairs_are_ranked(context, tmp_path):
    settings = build_config(write(tmp_path, pairs=True), {}, "test.yaml").base
    scores = stages.scores(stages.original(settings, context), settings, context)
    rows = load_dataset("parquet", data_files=str(tmp_path / "data" / "validation.parquet"), split="train")
    within = (pooled(tmp_path, rows["text"]) * pooled(tmp_path, rows["other"])).sum(axis=1)
    assert scores.metrics["spearmanr"] == pytest.approx(spearmanr(within, rows["score"]).statistic, abs=1e-3)
    assert scores.examples == 40


@pytest.mark.slow
def test_it_runs_whole_and_is_tuned(tmp_path):
    settings = write(tmp_path, pairs=True)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    done = quantbench("run", "tiny.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cosine" in (tmp_path / "out" / "card.md").read_text()
    done = quantbench(
        "tune", "tiny.yaml", "--out", "best", "--max-drop", "cosine=0.9", "--only", "onnxruntime-dynamic", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr

"""Every task whole, on tiny random models: what is scored, what is written, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from sklearn.metrics import accuracy_score
from tests.support import stages
from tests.support.command import quantbench
from tests.support.searches import deployed_by
from tests.support.tiny_tasks import COLOURS, TASKS, TOPICS, write_images, write_questions, write_texts
from transformers import pipeline

from quantbench import embedded
from quantbench.config.load import build_config, load_config
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.pipeline.load import load_model
from quantbench.pipeline.preflight import check
from quantbench.plugins import registry
from quantbench.sources.labels import of_model
from quantbench.system import environment
from quantbench.tasks import question_answering

ANSWERS = Path(__file__).parents[1] / "golden" / "answers.json"
"""Written by ``scripts/pipeline_answers.py`` with the last version of transformers that has the pipeline."""


def config_of(settings):
    return build_config(settings, {}, "test.yaml")


@pytest.fixture(scope="module")
def machine():
    return environment.detect()


@pytest.fixture
def context(tmp_path, machine):
    return stages.context_at(tmp_path / "cache")


def original(context, settings):
    """Examples and the original's predictions."""
    return stages.examples(settings, context), stages.predictions(
        stages.original(settings, context), settings, context
    ).rows


@pytest.mark.parametrize("task", TASKS)
def test_a_task_runs_whole(task, tmp_path):
    settings = {**TASKS[task](tmp_path), "benchmarked": {"quantization_approach": ["static", "dynamic"]}}
    del settings["quantization_approach"]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    done = quantbench("run", "tiny.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    default = registry.task(task).default_metrics(config_of(settings).base)
    wanted = [value for name in default for value in registry.task(task).METRICS[name]]
    for run in summary["runs"]:
        assert run["status"] == "done"
        assert list(run["metrics"]) == list(run["difference"]) == list(dict.fromkeys(wanted))
        for values in run["metrics"].values():
            assert values["onnx-float"] == pytest.approx(values["original"], abs=3 if "question" in task else 0.05)
        assert run["artifact"]["operators"]["MatMul"] > 0
        assert [row["batch_size"] for row in run["latency"]] == [2]
    front = yaml.safe_load((tmp_path / "out" / "card.md").read_text().split("---")[1])
    assert front["pipeline_tag"] == task
    assert {entry["task"]["type"] for entry in front["model-index"][0]["results"]} == {task}
    text = (tmp_path / "out" / "card.md").read_text()
    assert ("batch size = 2, input length" in text) == registry.task(task).PROCESSOR.HAS_LENGTH
    assert "input length = None" not in text


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_tune_finds_a_version_and_a_script_that_runs(task, tmp_path):
    settings = TASKS[task](tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    metric, _ = registry.task(task).default_limit(config_of(settings).base)
    limit = f"{metric}={40 if task == 'question-answering' else 0.9}"
    _, out = deployed_by("tiny.yaml", tmp_path, "--max-drop", limit, "--only", "onnxruntime-dynamic")
    said = _infer(task, tmp_path, out)
    assert said


def _infer(task, folder, out):
    """What the script beside the deployed model says of an example of its kind."""
    import subprocess
    import sys

    from PIL import Image

    Image.new("RGB", (20, 24), "red").save(folder / "red.png")
    example = {
        "text-classification": ["the team won ."],
        "question-answering": ["who won ?", "Anna won the match in Oslo ."],
        "image-classification": [str(folder / "red.png")],
    }[task]
    script = out / "models" / "best" / "infer.py"
    done = subprocess.run([sys.executable, script, *example], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_labels_of_words_are_those_of_the_pipeline(context):
    settings = load_config(embedded.CONFIG, ["max_eval_samples=500"]).base
    _, found = original(context, settings)
    names = of_model(load_model(settings.sources, context).config)
    sentences = load_dataset("parquet", data_files=str(embedded.DATA / "test.parquet"), split="train[:500]")["tokens"]
    classify = pipeline("token-classification", str(embedded.MODEL), ignore_labels=[])
    seen = set()
    for words, prediction in zip(sentences, found, strict=True):
        begins = np.cumsum([0, *(len(word) + 1 for word in words[:-1])]).tolist()
        [answer] = classify([list(words)], is_split_into_words=True)
        by_begin = {}
        for token in answer:
            by_begin.setdefault(token["start"], token["entity"])
        for begin, number in zip(begins, prediction, strict=True):
            if begin in by_begin:
                assert names[number] == by_begin[begin]
                seen.add(number)
    assert len(seen) == len(names)


def test_labels_of_texts_are_those_of_the_pipeline(context, tmp_path):
    settings = config_of(write_texts(tmp_path, count=500)).base
    _, found = original(context, settings)
    rows = load_dataset("parquet", data_files=str(tmp_path / "data" / "validation.parquet"), split="train")
    classify = pipeline("text-classification", str(tmp_path / "model"))
    wanted = [answer["label"] for answer in classify(list(rows["text"]), truncation=True, batch_size=1)]
    assert [TOPICS[prediction[0]] for prediction in found] == wanted
    assert len(set(wanted)) > 1
    scores = stages.scores(stages.original(settings, context), settings, context)
    assert scores.metrics["accuracy"] == accuracy_score([TOPICS[number] for number in rows["label"]], wanted)


def test_pairs_and_sets_of_labels_are_those_of_the_pipeline(context, tmp_path):
    settings = config_of(write_texts(tmp_path, "sets", pairs=True)).base
    _, found = original(context, settings)
    rows = load_dataset("parquet", data_files=str(tmp_path / "data" / "validation.parquet"), split="train")
    classify = pipeline("text-classification", str(tmp_path / "model"), top_k=None, function_to_apply="sigmoid")
    for row, prediction in zip(rows, found, strict=True):
        scores = {item["label"]: item["score"] for item in classify({"text": row["text"], "text_pair": row["other"]})}
        assert prediction == tuple(int(scores[topic] > 0.5) for topic in TOPICS)
    assert len(set(found)) > 1


def test_a_number_is_that_of_the_pipeline(context, tmp_path):
    settings = config_of(write_texts(tmp_path, "numbers")).base
    _, found = original(context, settings)
    rows = load_dataset("parquet", data_files=str(tmp_path / "data" / "validation.parquet"), split="train")
    classify = pipeline("text-classification", str(tmp_path / "model"), function_to_apply="none")
    wanted = [answer["score"] for answer in classify(list(rows["text"]))]
    assert [prediction[0] for prediction in found] == pytest.approx(wanted, abs=1e-4)
    scores = stages.scores(stages.original(settings, context), settings, context)
    assert set(scores.metrics) == {"pearson", "spearmanr"}


def test_labels_of_images_are_those_of_the_pipeline(context, tmp_path):
    settings = config_of(write_images(tmp_path, count=500)).base
    examples, found = original(context, settings)
    rows = load_dataset("parquet", data_files=str(tmp_path / "data" / "validation.parquet"), split="train")
    classify = pipeline("image-classification", str(tmp_path / "model"), top_k=5)
    wanted = [tuple(COLOURS.index(item["label"]) for item in answer) for answer in classify(list(rows["image"]))]
    assert found == wanted
    assert len(set(found)) > 1
    everything = registry.task("image-classification").score(examples, found, found).metrics
    inside = np.mean([label in answer for label, answer in zip(rows["label"], wanted, strict=True)])
    assert everything["top_5_accuracy"] == pytest.approx(inside)


def test_answers_are_those_of_the_pipeline(context, tmp_path):
    settings = config_of(write_questions(tmp_path, count=500)).base
    examples, found = original(context, settings)
    wanted = json.loads(ANSWERS.read_text())
    assert wanted["options"] == {name: dict(settings.task_args)[name] for name in wanted["options"]}
    assert question_answering.answers(examples, found) == wanted["answers"]
    assert len(set(wanted["answers"])) > 100


@pytest.mark.parametrize("unanswerable", [False, True])
def test_an_answer_is_a_part_of_the_context(context, tmp_path, unanswerable):
    settings = config_of(write_questions(tmp_path, unanswerable=unanswerable)).base
    examples, found = original(context, settings)
    assert len(examples.inputs) > len(examples.contexts), "long contexts have several windows"
    given = question_answering.answers(examples, found)
    assert all(answer in context for answer, context in zip(given, examples.contexts, strict=True))
    assert len(set(given)) > 5
    scores = stages.scores(stages.original(settings, context), settings, context)
    assert ("NoAns_f1" in scores.metrics) == unanswerable
    assert len(scores.outcomes) == 40


@pytest.mark.parametrize(
    ("write", "changes", "words"),
    [
        (write_texts, {"metrics": ["f1"]}, "metric f1 is for two labels, the model has 3"),
        (write_texts, {"metrics": ["pearson"]}, "metric pearson is not for this kind of labels"),
        (write_texts, {"task_args": {"is_regression": True}}, "needs a model with one output"),
        (write_texts, {"task_args": {"max_answer_len": 3}}, "task_args.max_answer_len belongs to task question-answ"),
        (write_texts, {"dataset.ref_keys": ["topic"]}, "has no column 'topic'; there is: text, label"),
        (write_texts, {"dataset.data_keys": {"secondary": "text"}}, "data_keys needs primary, the column of texts"),
        (write_texts, {"dataset.label_names": ["sport", "money", "art"]}, "labels art are not among the model's"),
        (write_texts, {"task": "image-classification", "input_lengths": [64]}, "is no model for image-classification"),
        (write_images, {"input_lengths": [32]}, "have no length, shapes are batch_sizes alone"),
        (write_images, {"dataset.data_keys": {"primary": "label"}}, "must hold images"),
        (write_questions, {"dataset.data_keys": {"question": "question"}}, "data_keys needs context"),
    ],
)
def test_bad_input_is_said(tmp_path, machine, write, changes, words):
    settings = write(tmp_path, count=8)
    for key, value in changes.items():
        place, _, name = key.rpartition(".")
        (settings[place] if place else settings)[name] = value
    with pytest.raises(BadInput) as refused:
        config = config_of(settings)
        check(config, stages.context_at(tmp_path / "cache"), [])
        make_plan(config)
    assert words in " ".join(str(mistake) for mistake in refused.value.mistakes)

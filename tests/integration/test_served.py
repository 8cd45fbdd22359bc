"""The script beside a deployed model answers as the model was scored: every task, runtime and ``task_args``."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import Dataset, load_dataset
from seqeval import scheme
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import Tokens
from tests.support.deployed import deployed
from tests.support.sentence_models import (
    EVERYTHING,
    PROMPTED,
    often_without_answer,
    texts,
    write_dense,
    write_sentence_model,
)
from tests.support.tiny_models import CONLL_LABELS, write_tiny_distilbert
from tests.support.tiny_tasks import TOPICS, WORDS, write_images, write_questions, write_texts

from quantbench.config.load import build_config, load_config
from quantbench.plugins import registry
from quantbench.served import command
from quantbench.tune.deploy import recipe

COUNT = 300
TWO_ROUNDINGS = 2**-7
"""Of numbers up to 1 to bfloat16, in which sentence-transformers pools and normalizes where the model computes in it."""
LONG = 200
"""Words of a text that is longer than the models take."""
APPROACHES = {
    "none": {"quantization_approach": "none"},
    "dynamic": {"quantization_approach": "dynamic", "batch_sizes": [2]},
    "static": {"quantization_approach": "static"},
    "openvino": {"quantization_approach": "none", "framework": "openvino"},
    "pytorch": {"quantization_approach": "none", "framework": "pytorch", "framework_args": {"precision": "bfloat16"}},
}


def read(root):
    return load_dataset("parquet", data_files=str(root / "data" / "validation.parquet"), split="train").to_list()


def with_long_texts(root, *columns):
    """Make every hundredth text longer than the model takes."""
    long = texts((LONG, LONG + 20), COUNT)
    for path in (root / "data").glob("*.parquet"):
        data = load_dataset("parquet", data_files=str(path), split="train")
        rows = [{**row} for row in data]
        for index in range(7, len(rows), 100):
            rows[index].update(dict.fromkeys(columns, long[index]))
        Dataset.from_list(rows, features=data.features).to_parquet(path)


def of_texts(kind, pairs=False):
    def write(root):
        settings = write_texts(root, kind, pairs, COUNT)
        with_long_texts(root, *(["text", "other"] if pairs else ["text"]))
        return settings

    return write


def of_questions(**task_args):
    def write(root):
        settings = write_questions(root, COUNT, unanswerable=bool(task_args.get("handle_impossible")))
        with_long_texts(root, "context")
        if task_args.get("handle_impossible"):
            often_without_answer(root / "model")
        return {**settings, "task_args": {**settings["task_args"], **task_args}}

    return write


def of_embeddings(pooling, pairs=False, asked=None, declared=False, modules=(("2_Normalize", "Normalize"),), **files):
    """By a folder of sentence-transformers.

    Where ``asked`` is given, by ``task_args``, and a folder that says nothing unless ``declared``.
    """

    def write(root):
        named = {name.replace("__", "."): value for name, value in files.items()}
        write_sentence_model(root / "model", pooling, modules, named)
        for number, (place, kind) in enumerate(modules):
            if kind == "Dense":
                write_dense(root / "model" / place, 16 if number else 6 * 32, 16, seed=number)
        rows = [{"a": a, "b": b} for a, b in zip(texts(count=COUNT, seed=1), texts(count=COUNT, seed=2), strict=True)]
        (root / "data").mkdir()
        generator = random.Random(0)
        for split in ("train", "validation"):
            scored = [{**row, "score": generator.random()} for row in rows]
            Dataset.from_list(scored).to_parquet(root / "data" / f"{split}.parquet")
        with_long_texts(root, "a")
        keys = {"primary": "a", "secondary": "b"} if pairs else {"primary": "a"}
        settings = settings_of(root, "feature-extraction", keys, ["score"] if pairs else [])
        if asked is None:
            return settings
        if not declared:
            (root / "model" / "modules.json").unlink()
        return {**settings, "task_args": asked}

    return write


def of_tags(labels):
    def write(root):
        write_tiny_distilbert(root / "model", labels, WORDS, seed=3)
        generator = random.Random(0)
        rows = [
            {"tokens": text.split(), "tags": [generator.choice(labels) for _ in text.split()]}
            for text in texts(count=COUNT)
        ]
        for row in rows[::5]:  # words of which no token is left, between all others
            row["tokens"] = [word for given in row["tokens"] for word in (given, "\u200b")]
            row["tags"] = [tag for given in row["tags"] for tag in (given, labels[0])]
        rows[7] = {"tokens": texts((LONG, LONG), 1)[0].split(), "tags": [labels[0]] * LONG}
        rows[11] = {"tokens": ["Anna", "\u200b", "", "won"], "tags": [labels[0]] * 4}
        (root / "data").mkdir()
        for split in ("train", "validation"):
            Dataset.from_list(rows).to_parquet(root / "data" / f"{split}.parquet")
        return settings_of(root, "token-classification", {"primary": "tokens"}, ["tags"])

    return write


def settings_of(root, task, keys, refs):
    data = {"path": str(root / "data"), "calibration_split": "train", "data_keys": keys, "ref_keys": refs}
    return {
        "task": task,
        "model_name_or_path": str(root / "model"),
        "dataset": data,
        "calibration": {"num_calibration_samples": 8},
        "input_lengths": [16],
    }


IOB = CONLL_LABELS
IOBES = ("O", *(f"{tag}-{kind}" for kind in ("PER", "LOC") for tag in "BIES"))
BILOU = ("O", *(f"{tag}-{kind}" for kind in ("PER", "LOC") for tag in "BILU"))
BMES = ("O", *(f"{tag}-{kind}" for kind in ("PER", "LOC") for tag in "BMES"))
PLAIN = ("O", "PER", "LOC")
VARIANTS = {
    "one label": (of_texts("single"), "dynamic"),
    "one label of pairs": (of_texts("single", True), "none"),
    "sets": (of_texts("sets"), "static"),
    "sets of pairs": (of_texts("sets", True), "none"),
    "numbers": (of_texts("numbers"), "openvino"),
    "numbers of pairs": (of_texts("numbers", True), "pytorch"),
    "answers": (of_questions(), "none"),
    "answers of three tokens": (of_questions(max_answer_len=3), "dynamic"),
    "answers or nothing": (of_questions(handle_impossible=True), "none"),
    "answers in long windows": (of_questions(max_seq_len=100, doc_stride=40), "none"),
    "means": (of_embeddings("mean_tokens"), "none"),
    "first tokens": (of_embeddings("cls_token"), "dynamic"),
    "first tokens of pairs": (of_embeddings("cls_token", True), "none"),
    "last tokens, short, with a prompt": (of_embeddings("lasttoken", **PROMPTED), "none"),
    "means in lower case": (of_embeddings("mean_tokens", sentence_bert_config__json={"do_lower_case": True}), "none"),
    "means by default": (of_embeddings("cls_token", asked={}), "openvino"),
    "means asked for": (of_embeddings("cls_token", asked={"pooling": "mean"}), "none"),
    "first tokens asked for": (of_embeddings("mean_tokens", asked={"pooling": "cls"}), "static"),
    "last tokens asked for": (of_embeddings("mean_tokens", asked={"pooling": "lasttoken"}), "pytorch"),
    "all poolings without the prompt, two Dense": (of_embeddings("mean_tokens", **EVERYTHING), "none"),
    "all poolings without the prompt, two Dense, of pairs": (
        of_embeddings("mean_tokens", True, **EVERYTHING),
        "static",
    ),
    "weighted means asked for": (of_embeddings("cls_token", asked={"pooling": "weightedmean"}), "dynamic"),
    "maxima behind a prompt asked for": (
        of_embeddings("cls_token", asked={"pooling": "max", "prompt": "the rain: "}),
        "openvino",
    ),
    "IOB": (of_tags(IOB), "dynamic"),
    "IOBES": (of_tags(IOBES), "none"),
    "BILOU": (of_tags(BILOU), "none"),
    "BMES": (of_tags(BMES), "none"),
    "plain": (of_tags(PLAIN), "none"),
    "parts of speech": (of_tags(("NOUN", "VERB", "DET")), "none"),
    "images": (lambda root: write_images(root, COUNT), "dynamic"),
}


def deployed_by(root, settings, approach):
    return deployed(root, {**settings, "batch_sizes": [], **APPROACHES[approach]})


def run(folder, *arguments, cwd, given=None):
    """The script as a stranger calls it: from elsewhere, without a locale, without quantbench."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LANG")}
    return subprocess.run(
        [sys.executable, "-B", str(folder / "infer.py"), *map(str, arguments)],
        cwd=cwd,
        env={**clean, "LC_ALL": "C"},
        input=given,
        capture_output=True,
        check=False,
    )


def rows_of(root, settings):
    """The rows of the validation split, by their columns, as JSON has them."""
    columns = settings["dataset"]["data_keys"].values()
    rows = [{column: row[column] for column in columns} for row in read(root)]
    for number, row in enumerate(rows):
        if isinstance(row.get("image"), dict):
            path = root / "pictures" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(row["image"]["bytes"])
            row["image"] = str(path)
    return rows


ORACLES = {
    IOB: get_entities,
    IOBES: get_entities,
    BILOU: lambda names: [(e.tag, e.start, e.end - 1) for e in Tokens(names, scheme.BILOU).entities],
    BMES: lambda names: get_entities([name.replace("M-", "I-") for name in names]),
    PLAIN: lambda names: get_entities([name if name == "O" else f"I-{name}" for name in names]),
}
"""The entities in a sequence of labels by seqeval's own words, by the labels that there are."""


def tagged(prediction, labels):
    """The answer to a sentence: behind the limit (-1) is outside, a word without token (-2) is in no sequence."""
    answer = {"labels": [labels[int(number)] if number >= 0 else None for number in prediction]}
    oracle = ORACLES.get(tuple(labels))
    if oracle is None:
        return answer
    places = [place for place, number in enumerate(prediction) if number != -2]
    chunks = oracle([answer["labels"][place] or "O" for place in places])
    named = [{"kind": kind, "first": places[first], "last": places[last]} for kind, first, last in chunks]
    return {**answer, "entities": sorted(named, key=lambda chunk: chunk["first"])}


def expected(settings, examples, found):
    """The scored predictions in the words of an answer, told from the references' side."""
    task = settings["task"]
    if task == "question-answering":
        return [{"answer": text} for text in registry.task(task).answers(examples, found)]
    if task == "feature-extraction":
        return found
    if task == "token-classification":
        return [tagged(prediction, examples.labels) for prediction in found]
    if task == "image-classification":
        return [int(prediction[0]) for prediction in found]
    if examples.kind == "numbers":
        return [prediction[0] for prediction in found]
    if examples.kind == "sets":
        return [[topic for topic, holds in zip(TOPICS, p, strict=True) if holds] for p in found]
    return [TOPICS[int(prediction[0])] for prediction in found]


def same(settings, answers, wanted):
    task = settings["task"]
    if task == "feature-extraction":
        pairs = "secondary" in settings["dataset"]["data_keys"]
        got = [a["embeddings"][0] for a in answers] + [a["embeddings"][1] for a in answers] if pairs else None
        np.testing.assert_allclose(got or [a["embedding"] for a in answers], wanted, atol=2e-6)
    elif task == "question-answering":
        assert [{"answer": answer["answer"]} for answer in answers] == wanted
        assert len({answer["answer"] for answer in answers}) > 3
        assert any(not answer["answer"] for answer in answers) == settings["task_args"].get("handle_impossible", False)
    elif task == "token-classification":
        assert answers == wanted
        assert {None} < {label for answer in answers for label in answer["labels"]}
        if "entities" in answers[0]:
            spans = [a["labels"][e["first"] : e["last"] + 1] for a in answers for e in a["entities"]]
            assert any(None in span for span in spans), "no entity goes on over a word without token"
    elif task == "image-classification":
        names = ["red", "green", "blue", "yellow", "white", "black"]
        assert [names.index(answer["label"]) for answer in answers] == wanted
    elif "number" in answers[0]:
        assert [answer["number"] for answer in answers] == pytest.approx(wanted, abs=1e-5)
    else:
        assert [answer.get("label", answer.get("labels")) for answer in answers] == wanted


ALWAYS = (
    *("sets of pairs", "answers or nothing", "last tokens, short, with a prompt", "IOB", "images"),
    "all poolings without the prompt, two Dense",
)
"""At least one of each task; each is a process of its own, so that all of them take minutes."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in VARIANTS]
)
def test_the_deployed_script_answers_as_was_scored(name, tmp_path):
    write, approach = VARIANTS[name]
    settings = write(tmp_path)
    folder, examples, found = deployed_by(tmp_path, settings, approach)
    away = tmp_path / "away"
    away.mkdir()
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows_of(tmp_path, settings))
    (away / "rows.jsonl").write_text(lines, encoding="utf-8")
    done = run(folder, "--jsonl", "rows.jsonl", cwd=away)
    assert done.returncode == 0, done.stderr.decode()
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(answers) == COUNT
    same(settings, answers, expected(settings, examples, found))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    settings = of_texts("single", True)(root)
    return root, settings, *deployed_by(root, settings, "none")


def test_pairs_are_two_arguments(pairs, tmp_path):
    root, _, folder, _, found = pairs
    rows = read(root)[:3]
    done = run(folder, *(text for row in rows for text in (row["text"], row["other"])), cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    told = [line.split("\t")[0] for line in done.stdout.decode().splitlines()]
    assert told[::3] == [TOPICS[int(prediction[0])] for prediction in found[:3]]


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        ([], None, "usage: infer.py PRIMARY SECONDARY"),
        (["one"], None, "an example is 2 arguments"),
        (["--jsonl", "nowhere.jsonl"], None, "No such file"),
        (["--jsonl", "-"], b'{"text": "a"}', "line 1 of - has no 'secondary'"),
        (["--jsonl", "-"], b'{"text": "a", "other": 3}', "example 1: secondary is not a text"),
        (["--jsonl", "-"], b"[1]", "no JSON object"),
        (["--jsonl", "-"], b"{", "line 1 of - is no JSON"),
        (["--jsonl", "-"], b"\xff", "codec"),
        (["--what"], None, "unrecognized arguments"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(pairs, tmp_path, arguments, given, words):
    done = run(pairs[2], *arguments, cwd=tmp_path, given=given)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in said
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said


def test_help_teaches(pairs, tmp_path):
    done = run(pairs[2], "--help", cwd=tmp_path)
    assert done.returncode == 0
    said = " ".join(done.stdout.decode().split())
    assert "--jsonl FILE" in said
    assert "pip install transformers onnxruntime" in said


def test_the_recipe_works_from_everywhere(pairs, tmp_path, monkeypatch):
    root, settings, *_ = pairs
    monkeypatch.chdir(root)
    data = {**settings, "model_name_or_path": "model", "dataset": {**settings["dataset"], "path": "data"}}
    written = recipe(build_config(data, {}, "test.yaml").base, {})
    (tmp_path / "recipe.yaml").write_text(written)
    monkeypatch.chdir(tmp_path)
    found = load_config(tmp_path / "recipe.yaml").base
    assert found.model_name_or_path == str(root / "model")
    assert found.dataset.path == str(root / "data")
    assert yaml.safe_load(written)["dataset"]["path"] == str(root / "data")


def test_files_of_a_deployed_folder_are_those_of_the_package(pairs):
    here = Path(command.__file__).parent
    for file in (pairs[2] / "served").glob("*.py"):
        assert file.read_bytes() == (here / file.name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("saved", [False, True], ids=["as written by version 2", "as saved by version 6"])
@pytest.mark.parametrize(
    ("pooling", "files"),
    [
        ("lasttoken", PROMPTED),
        ("mean_tokens", {"sentence_bert_config__json": {"do_lower_case": True, "max_seq_length": 20}}),
    ],
    ids=["prompt", "lower case"],
)
def test_a_deployed_folder_is_one_of_sentence_transformers(pooling, files, saved, tmp_path):
    from sentence_transformers import SentenceTransformer

    settings = of_embeddings(pooling, **files)(tmp_path)
    if saved:
        SentenceTransformer(str(tmp_path / "model"), device="cpu").save(str(tmp_path / "saved"))
        settings["model_name_or_path"] = str(tmp_path / "saved")
    folder, _, _ = deployed(tmp_path, {**settings, "batch_sizes": [], **APPROACHES["pytorch"]})
    given = [row["a"] for row in read(tmp_path)]
    lines = "\n".join(json.dumps({"a": text}) for text in given)
    done = run(folder, "--jsonl", "-", cwd=tmp_path, given=lines.encode())
    answers = np.array([json.loads(line)["embedding"] for line in done.stdout.decode().splitlines()])
    assert len(answers) == COUNT
    theirs = SentenceTransformer(str(folder), device="cpu").encode(given, batch_size=1).astype(float)
    np.testing.assert_allclose(theirs, answers, atol=TWO_ROUNDINGS)

"""Configurations decided from model and data are those that are written by hand, and what cannot be told is asked for."""

import contextlib
import json
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset
from tests.cases.case import Case, Right
from tests.cases.execute import all_cases
from tests.support import tiny_tasks
from tests.support.command import quantbench
from tests.support.sentence_models import texts as sentences
from tests.support.sentence_models import write_sentence_model

import quantbench as qb
from quantbench.config.load import build_config

MODULES = ("basics", "data", "doubts", "embeddings", "labels", "models", "rankings", "readers")
OPTIONS = {
    "a pair without its similarity": {"task": "feature-extraction"},
    "a tagger without pooler, for its embeddings": {"task": "feature-extraction"},
    "one split to calibrate and to evaluate on": {"eval_split": "validation", "calibration_split": "validation"},
}
"""What cannot be told of some cases, or is another choice than the usual one."""
SOURCES = {"task", "task_args", "model_name_or_path", "dataset"}


def sources(config, calibrated):
    found = config.base.model_dump(include=SOURCES)
    if not calibrated:
        del found["dataset"]["calibration_split"]  # none by hand: such a run is dynamic
    return found


@pytest.mark.parametrize(
    "registered", [pytest.param(found, id=found.name) for found in all_cases() if found.module in MODULES]
)
def test_the_decided_configuration_is_the_one_written_by_hand(registered, tmp_path):
    """Where a run works; whatever else there is, is decided or refused."""
    made = registered.make(tmp_path)
    if not isinstance(made, Case):
        return
    if not isinstance(made.right, Right):
        with contextlib.suppress(qb.BadInput):
            qb.decide(made.settings["model_name_or_path"], made.settings["dataset"]["path"])
        return
    by_hand = build_config(dict(made.settings), {}, "by hand")
    dataset = by_hand.base.dataset
    known = {
        f"dataset.{key}": getattr(dataset, key) for key in ("name", "label_names", "label_map") if getattr(dataset, key)
    }
    file = {"eval_split": "train", "calibration_split": "train"} if dataset.eval_split == "train" else {}
    options = {**file, **OPTIONS.get(registered.name, {})}
    decided = qb.decide(by_hand.base.model_name_or_path, dataset.path, set=known, **options).config
    calibrated = dataset.calibration_split is not None
    assert sources(decided, calibrated) == sources(by_hand, calibrated)


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (lambda root: tiny_tasks.write_texts(root, "single"), {}),
        (lambda root: tiny_tasks.write_texts(root, "sets"), {}),
        (lambda root: tiny_tasks.write_texts(root, "numbers"), {}),
        (lambda root: tiny_tasks.write_texts(root, pairs=True), {"text_column": ["text", "other"]}),
        (lambda root: tiny_tasks.write_questions(root, unanswerable=True), {}),
        (tiny_tasks.write_images, {}),
    ],
    ids=["label", "labels", "number", "pair", "questions", "images"],
)
def test_every_task_is_decided_and_its_file_says_the_same(write, options, tmp_path):
    settings = write(tmp_path)
    kept = {key: settings.get(key, {}) for key in SOURCES}
    kept["task_args"] = {
        key: value for key, value in kept["task_args"].items() if value is True
    }  # windows are a choice
    decided = qb.decide(settings["model_name_or_path"], settings["dataset"]["path"], **options)
    assert sources(decided.config, True) == sources(build_config(kept, {}, "by hand"), True)
    assert len(str(decided).splitlines()) == 3
    file = decided.write(tmp_path / "mine.yaml")
    assert qb.load_config(file) == decided.config.model_copy(
        update={name: getattr(qb.load_config(file), name) for name in ("source", "lines", "places")}
    )
    assert [run.key for run in qb.plan(qb.load_config(file)).runs] == [run.key for run in qb.plan(decided.config).runs]
    with pytest.raises(qb.BadInput, match="--force"):
        decided.write(file)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A model of topics, and one CSV file of texts with their topics, sorted by these."""
    root = tmp_path_factory.mktemp("texts")
    tiny_tasks.write_texts(root)
    rows = load_dataset("parquet", data_files=str(root / "data" / "train.parquet"), split="train").to_list()
    named = [{"id": number, **row, "label": tiny_tasks.TOPICS[row["label"]]} for number, row in enumerate(rows)]
    Dataset.from_list(sorted(named, key=lambda row: row["label"])).to_csv(root / "reviews.csv")
    return root


def test_one_file_is_cut_in_two_by_a_seed(texts):
    from quantbench.sources.datasets import load_split

    dataset = qb.decide(texts / "model", texts / "reviews.csv").config.base.dataset
    parts = [load_split(dataset, split, "") for split in (dataset.calibration_split, dataset.eval_split)]
    assert [len(part) for part in parts] == [10, 30]
    assert sorted([*parts[0]["id"], *parts[1]["id"]]) == list(range(40))
    assert all(len(set(part["label"])) == 3 for part in parts)
    assert load_split(dataset, dataset.calibration_split, "")["id"] == parts[0]["id"]


def test_a_run_needs_no_file_and_is_repeated_by_the_one_it_leaves(texts, tmp_path):
    arguments = [texts / "model", texts / "reviews.csv", "--set", "batch_sizes=[]", "--set", "per_channel=false"]
    arguments += ["--set", "quantization_approach=dynamic"]
    done = quantbench("run", *arguments, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()[:3]
    assert [line.partition(":")[0] for line in told] == ["model", "data", "measured"]
    assert "text-classification" in told[0]
    assert "'text'" in told[1] and "not read: id" in told[1] and "train.shuffle(0)[25%:]" in told[1]
    again = quantbench("run", "out/config.yaml", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    first, second = (qb.load_results(tmp_path / name) for name in ("out", "again"))
    assert [result.run.key for result in first] == [result.run.key for result in second]
    assert [r.scores["optimized"].metrics for r in first] == [r.scores["optimized"].metrics for r in second]
    assert quantbench("run", *arguments, "--out", "out", cwd=tmp_path).stdout == done.stdout


def test_init_writes_a_file_with_reasons_and_overwrites_none(texts, tmp_path):
    arguments = ["init", texts / "model", texts / "reviews.csv"]
    done = quantbench(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "written: model-reviews.yaml\n"), done.stderr
    text = (tmp_path / "model-reviews.yaml").read_text()
    assert "# DistilBertForSequenceClassification in config.json" in text
    assert quantbench("plan", "model-reviews.yaml", cwd=tmp_path).returncode == 0
    (tmp_path / "model-reviews.yaml").write_text("mine")
    refused = quantbench(*arguments, cwd=tmp_path)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "model-reviews.yaml").read_text() == "mine"
    assert quantbench(*arguments, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "model-reviews.yaml").read_text() == text


def test_relative_paths_hold_wherever_the_file_lies(texts, tmp_path, monkeypatch):
    monkeypatch.chdir(texts)
    decided = qb.decide("model", "reviews.csv")
    here, there = decided.write(Path("here.yaml")), decided.write(tmp_path / "there.yaml")
    assert qb.load_config(here).base == decided.config.base
    assert qb.load_config(there).base.dataset.path == str(texts / "reviews.csv")


LABELLED = {"text": "x", "label": "sport"}


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([LABELLED] * 8, {"label_column": "none"}, ["--label-column: there is no column 'none'", "label (texts)"]),
        ([{"head": "x", "tail": "y", "label": "sport"}] * 8, {}, ["--text-column: several columns", "head (texts), t"]),
        ([{"text": "x", "n": 0.5}] * 8, {}, ["--label-column", "n (numbers)", "without labels, --set 'dataset.ref_k"]),
        ([{"text": "x", "label": n % 3} for n in range(8)], {}, ["'dataset.label_names=[sport, money, weather]'"]),
        ([{"number": 1, "label": "sport"}] * 8, {}, ["--text-column: no column is known to hold texts"]),
        ([LABELLED] * 2, {}, ["DATA: has 2 rows"]),
        ([LABELLED] * 8, {"eval_split": "train[:4]"}, ["--calibration-split: ", "train"]),
        ([LABELLED] * 8, {"task": "question-answering"}, ["--text-column: no column is known to hold questions"]),
    ],
    ids=["label", "texts", "unlabelled", "numbers", "none", "few", "split", "task"],
)
def test_what_cannot_be_told_is_asked_for(rows, options, says, texts, tmp_path):
    (tmp_path / "data.json").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(qb.BadInput) as caught:
        qb.decide(texts / "model", tmp_path / "data.json", **options)
    assert len(caught.value.mistakes) == 1
    for text in says:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "MODEL", "--task", "question-answering"], "DATA: is missing; question-answering cannot"),
        (["run", "mine.yaml", "DATA"], "mine.yaml is a configuration"),
        (["tune", "mine.yaml", "--task", "text-classification"], "error: --task: belongs to a model"),
        (["run", "MODEL", "DATA", "--task", "chess"], "error: --task: unknown task 'chess'"),
        (["tune", "MODEL", "nowhere.csv"], "error: DATA: data set 'nowhere.csv' does not exist"),
        (["run", "./nowhere", "DATA"], "error: MODEL: model folder './nowhere' does not exist"),
        (["run", "MODEL", "DATA", "--eval-split", "test"], "error: --eval-split: "),
        (["init", "MODEL", "DATA", "--set", "per_chanel=1"], "error: --set per_chanel=1: unknown key"),
    ],
    ids=["no data", "two", "option", "task", "no file", "no model", "split", "key"],
)
def test_mistakes_are_one_message_and_write_nothing(arguments, says, texts, tmp_path):
    places = {"MODEL": texts / "model", "DATA": texts / "reviews.csv"}
    done = quantbench(*(places.get(word, word) for word in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_setfit_folder_is_measured_as_embeddings_only_where_that_is_asked_for(tmp_path):
    write_sentence_model(tmp_path / "model")
    (tmp_path / "model" / "config_setfit.json").write_text('{"labels": ["no", "yes"]}')
    rows = Dataset.from_dict({"text": sentences(count=100), "label": [0, 1] * 50})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    given = tmp_path / "model", tmp_path / "rows.csv"
    with pytest.raises(qb.BadInput, match=r"is a model of SetFit.*\(--task feature-extraction\)"):
        qb.decide(*given, text_column="text")
    assert qb.decide(*given, text_column="text", task="feature-extraction").config.base.task == "feature-extraction"

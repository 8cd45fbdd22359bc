"""Data without labels: what the versions say is held against what the original says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import load_dataset
from seqeval.metrics import f1_score as entity_f1
from sklearn.metrics import accuracy_score
from sklearn.neighbors import NearestNeighbors
from tests.cases.case import Answer, Case, Refused, case
from tests.cases.flow import inputs_of, run, session_of
from tests.cases.labels import SENTENCES, TEXTS, classes, settings, tags
from tests.support import stages
from tests.support.tiny_tasks import write_images, write_questions, write_texts
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import quantbench as qb
from quantbench.config.load import build_config
from quantbench.sources.cells import NO_LABELS
from quantbench.tasks import _neighbours


def _unlabelled(found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Settings without references, of a run as quick as there is."""
    kept = {key: found[key] for key in ("task", "model_name_or_path", "task_args") if key in found}
    return {**kept, "dataset": {**found["dataset"], "ref_keys": []}, "quantization_approach": "dynamic", **changes}


def _itself(folder: Path, found: dict[str, Any], *names: str) -> Answer:
    """The original against itself, with the note on it."""
    settings = build_config(_unlabelled(found), {}, "case").base
    context = stages.context_at(folder / "cache")
    notes = stages.examples(settings, context).notes
    scores = stages.scores(stages.original(settings, context), settings, context)
    right = {**dict.fromkeys(names, 1.0), "changed": 0, "noted": 1}
    told = ", ".join(f"{name} {value:.3f}" for name, value in scores.metrics.items())
    return Answer({**scores.metrics, "changed": scores.changed, "noted": int(NO_LABELS in notes)}, right, told)


@case("texts without labels, their int8 version", "onnxruntime on the run's file, transformers, scikit-learn")
def texts(folder: Path) -> Answer:
    result = run(folder, _unlabelled(write_texts(folder), per_channel=True))
    session, tokenizer = session_of(folder, result), AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
    shares: tuple[list[Any], list[Any]] = ([], [])
    for text in load_dataset("parquet", data_files=str(folder / "data/validation.parquet"), split="train")["text"]:
        encoded = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**encoded).logits, torch.tensor(session.run(None, inputs_of(session, encoded))[0])
        for found, values in zip(shares, logits, strict=True):
            found.append(values.softmax(-1)[0].numpy())
    original, optimized = (np.array(found) for found in shares)
    right = {
        "agreement": accuracy_score(original.argmax(1), optimized.argmax(1)),
        "overlap": float(np.minimum(original, optimized).sum(axis=1).mean()),
    }
    got = result.scores["optimized"].metrics
    return Answer(got, right, f"agreement {got['agreement']:.3f}, overlap {got['overlap']:.4f}", tolerance=1e-4)


@case("texts without labels, the original", "an answer equals itself")
def texts_themselves(folder: Path) -> Answer:
    return _itself(folder, write_texts(folder, count=8), "agreement", "overlap")


@case("several labels of a text, none of them given", "an answer equals itself")
def sets(folder: Path) -> Answer:
    return _itself(folder, write_texts(folder, kind="sets", count=8), "agreement", "overlap")


@case("a number of a text, none of them given", "an answer equals itself")
def numbers(folder: Path) -> Answer:
    return _itself(folder, write_texts(folder, kind="numbers", count=8), "agreement", "correlation_with_original")


@case("questions without answers", "an answer equals itself")
def questions(folder: Path) -> Answer:
    return _itself(folder, write_questions(folder, count=8), "agreement", "answer_overlap")


@case("pictures without labels", "an answer equals itself")
def pictures(folder: Path) -> Answer:
    return _itself(folder, write_images(folder, count=6), "agreement")


LABELS = ("O", "B-PER", "B-LOC", "I-LOC")
GIVEN = (("B-PER", "O", "O"), ("O", "O", "O", "O", "B-LOC", "I-LOC"), ("O", "O", "O"), ("B-LOC", "B-LOC", "O"))


@case("words without labels", "an answer equals itself")
def words(folder: Path) -> Answer:
    return _itself(folder, tags(folder, GIVEN, GIVEN, LABELS), "entity_agreement", "agreement")


@case("texts without labels for a tagger, which are split into words", "seqeval on what the model was fitted to")
def texts_for_a_tagger(folder: Path) -> Answer:
    found = tags(folder, GIVEN, GIVEN, LABELS)
    (folder / "a.csv").write_text("\n".join(["text", *map(" ".join, SENTENCES)]))
    found["dataset"] |= {"path": str(folder / "a.csv"), "eval_split": "train", "data_keys": {"primary": "text"}}
    counts = np.sum(run(folder, _unlabelled(found)).scores["original"].outcomes, axis=0)
    entities = sum(tag.startswith("B") for row in GIVEN for tag in row)
    assert entity_f1([list(row) for row in GIVEN], [list(row) for row in GIVEN]) == 1.0
    right = [entities] * 3 + [sum(map(len, GIVEN))] * 2
    return Answer(counts.tolist(), right, f"{entities} entities in {right[-1]} words, as the model was fitted to")


@case("accuracy asked for without labels", "planted")
def accuracy_without_labels(folder: Path) -> Case:
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    found = settings(folder, classes(), path=str(folder / "texts.txt"), eval_split="train", calibration_split="train")
    found = _unlabelled(found, metrics=["accuracy"])
    return Case(found, Refused("metrics", ["metric accuracy is not for this kind of labels", "agreement"]))


@case("a test file that lacks the column of labels", "planted")
def lacking_column(folder: Path) -> Case:
    (folder / "data").mkdir()
    (folder / "data" / "test.csv").write_text("\n".join(["text", *TEXTS]))
    found = settings(folder, classes(), eval_split="test")
    return Case(
        found, Refused("dataset.ref_keys", ["split 'test' has no column 'label'", "agreement with the original"])
    )


@case("a test file that lacks the column of labels, in one line", "planted")
def lacking_in_one_line(folder: Path) -> Answer:
    model = settings(folder, classes())["model_name_or_path"]
    (folder / "data").mkdir()
    (folder / "data" / "test.csv").write_text("\n".join(["id,text", *(f"{n},{text}" for n, text in enumerate(TEXTS))]))
    (folder / "data" / "train.csv").write_text("id,text,label\n1,Oslo,sport\n2,Anna,money\n")
    told = str(qb.decide(model, folder / "data"))
    got = [words in told for words in ("no labels: held against the original's own", "only in train: label")]
    return Answer(got, [True, True], "decided: no labels, which only train has")


@case("a model without data", "planted")
def no_data(folder: Path) -> Answer:
    decided = qb.decide(settings(folder, classes())["model_name_or_path"])
    dataset = decided.config.base.dataset
    got = [dataset.path, dict(dataset.data_keys), dataset.ref_keys, dataset.eval_split]
    return Answer(got, ["demo", {"primary": "text"}, (), "test"], "decided: the texts of the package, without labels")


@case("the ten nearest neighbours of embeddings, equal texts among them", "scikit-learn")
def neighbours(folder: Path) -> Answer:
    generator = np.random.default_rng(0)
    before = generator.normal(size=(60, 8))
    after = before + 0.3 * generator.normal(size=before.shape)
    finder = [NearestNeighbors(n_neighbors=11, metric="cosine").fit(vectors) for vectors in (before, after)]
    near = [found.kneighbors(return_distance=False, n_neighbors=10) for found in finder]
    right = [len({*old} & {*new}) / 10 for old, new in zip(*near, strict=True)]
    thrice = np.repeat(before, 3, axis=0)
    got = [*_neighbours.kept(after, before), *_neighbours.kept(thrice, thrice)]
    told = f"{np.mean(right):.2f} of the neighbours are kept; all of equal texts"
    return Answer(got, [*right, *[1.0] * len(thrice)], told)

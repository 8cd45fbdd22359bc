"""Every example of ``examples/`` from nothing to its card, and whether its original predicts what transformers does.

Models and data are made anew by ``scripts/build_examples.py``, the cards of ``examples/cards`` are written again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.support import stages

import quantbench as qb
from quantbench.config.load import load_config
from quantbench.pipeline.load import load_split
from quantbench.plugins.options import typed
from quantbench.reports._markdown import table
from quantbench.results.store import Store
from quantbench.schema.settings import Config, Settings
from quantbench.system import cache
from quantbench.tasks import question_answering

TASKS = ("text-classification", "question-answering", "image-classification", "feature-extraction")
EXAMPLES = 500
OUT = Path("runs/examples")
OLD = Path("runs/bench/transformers-4.57")
OLD_PACKAGES = ("transformers==4.57.6", "huggingface_hub==0.36.2", "tokenizers==0.22.2")
"""The last version of transformers with a pipeline for question answering, beside the installed one."""


def report() -> str:
    """Markdown table: a row per task."""
    header = ["task", "training, min", "run, min", "values of the original", "of the optimized", "as the pipeline"]
    rows = [[task, *_row(task)] for task in TASKS]
    return "## Examples\n\n" + table(header, rows)


def _row(task: str) -> list[str]:
    start = time.monotonic()
    subprocess.run([sys.executable, "scripts/build_examples.py", task], check=True)
    trained = time.monotonic()
    config = load_config(Path("examples") / f"{task}.yaml")
    folder = OUT / task / "out"
    qb.run(config, out=folder)
    done = time.monotonic()
    shutil.copyfile(folder / "card.md", Path("examples/cards") / f"{task}.md")
    results = Store(folder).results()
    return [
        f"{(trained - start) / 60:.1f}",
        f"{(done - trained) / 60:.1f}",
        _values(results[0].scores["original"].metrics),
        "<br>".join(_values(result.scores["optimized"].metrics) for result in results),
        _agreement(config),
    ]


def _values(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _agreement(config: Config) -> str:
    """How many of the first examples are predicted as by the pipeline."""
    settings = config.base.model_copy(update={"max_eval_samples": EXAMPLES})
    context = stages.context_at(cache.folder())
    spec = stages.original(settings, context)
    found: Sequence[Any] = stages.predictions(spec, settings, context).rows
    if settings.task == "question-answering":
        found = question_answering.answers(stages.examples(settings, context), found)
    rows = load_split(settings.dataset, "eval", context).data.select(range(EXAMPLES))
    same = PIPELINES[settings.task](settings, rows, found)
    return f"{sum(same)} of {len(same)}"


def _texts(settings: Settings, rows: Any, found: Sequence[Any]) -> list[bool]:
    from transformers import pipeline

    wanted = pipeline("text-classification", settings.model_name_or_path)(list(rows["text"]), truncation=True)
    names = rows.features["label"].names
    return [names[prediction[0]] == item["label"] for prediction, item in zip(found, wanted, strict=True)]


def _questions(settings: Settings, rows: Any, found: Sequence[Any]) -> list[bool]:
    if not OLD.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(OLD)]
        subprocess.run([*pip, *OLD_PACKAGES], check=True)
    questions, answers = OLD.parent / "questions.parquet", OLD.parent / "answers.json"
    rows.to_parquet(questions)
    script = [sys.executable, "scripts/pipeline_answers.py", settings.model_name_or_path, str(questions), str(answers)]
    args = typed(question_answering.Args, settings)
    lengths = ["--max-seq-len", str(args.max_seq_len), "--doc-stride", str(args.doc_stride)]
    subprocess.run([*script, *lengths], check=True, env={**os.environ, "PYTHONPATH": str(OLD.resolve())})
    wanted = json.loads(answers.read_text())["answers"]
    return [a == b for a, b in zip(found, wanted, strict=True)]


def _images(settings: Settings, rows: Any, found: Sequence[Any]) -> list[bool]:
    from transformers import pipeline

    wanted = pipeline("image-classification", settings.model_name_or_path, top_k=5)(list(rows["image"]))
    names = rows.features["label"].names
    best = [tuple(names.index(item["label"]) for item in answer) for answer in wanted]
    return [prediction == answer for prediction, answer in zip(found, best, strict=True)]


def _embeddings(settings: Settings, rows: Any, found: Sequence[Any]) -> list[bool]:
    from transformers import pipeline

    texts = [*rows["first"], *rows["second"]]
    states = pipeline("feature-extraction", settings.model_name_or_path)(texts)
    means = [np.asarray(state[0]).mean(axis=0) for state in states]
    wanted = [mean / np.linalg.norm(mean) for mean in means]
    return [bool(np.abs(a - b).max() < 1e-5) for a, b in zip(found, wanted, strict=True)]


PIPELINES: dict[str, Callable[[Settings, Any, Sequence[Any]], list[bool]]] = {
    "text-classification": _texts,
    "question-answering": _questions,
    "image-classification": _images,
    "feature-extraction": _embeddings,
}

"""The toy task: the topic of a text, counted as hits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from quantbench.plugins.options import typed
from quantbench.schema.results import Scores
from quantbench.schema.settings import TaskArgs
from quantbench.served import text_classification as served
from quantbench.tasks import text_classification as texts

SUMMARY = "the topic of a text, hit or missed"
PIPELINE_TAG = "text-classification"
AUTO_CLASS = texts.AUTO_CLASS
ARCHITECTURE_SUFFIX = texts.ARCHITECTURE_SUFFIX
DATA_KEYS = ("primary",)
METRICS = {"hits": ("hits",)}
OUTPUTS = texts.OUTPUTS
PROCESSOR = texts.PROCESSOR
LIBRARIES = ()
EXTRA = ""
SERVED = served
COLUMNS = ("hit",)


class Args(TaskArgs, extra="forbid"):
    """Options of the toy: ``worth`` is what a hit counts."""

    worth: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True)
class TopicExamples(texts.TextExamples):
    """Texts and their topics, and what a hit counts."""

    worth: float


RULES = ()
check = texts.check
check_model = texts.check_model
references = texts.references
serving = texts.serving
decode = served.decode
likelihood = texts.likelihood


def prepare(sources, dataset, processor, model_config):
    made = texts.prepare(sources, dataset, processor, model_config)
    return TopicExamples(**vars(made), worth=typed(Args, sources).worth)


def known_metrics(sources):
    return tuple(METRICS)


def default_metrics(sources, labels=()):
    return tuple(METRICS)


def default_limit(sources, labels=()):
    return "hits", 0.01


def score(examples, predictions, original):
    hits = [a[0] == b[0] for a, b in zip(examples.references, predictions, strict=True)]
    outcomes = tuple((examples.worth * hit,) for hit in hits)
    return Scores(
        metrics=metrics(COLUMNS, np.asarray(outcomes), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=sum(a != b for a, b in zip(predictions, original, strict=True)),
        columns=COLUMNS,
        outcomes=outcomes,
    )


def metrics(columns, outcomes, weights):
    return {"hits": weights @ outcomes[:, 0] / weights.sum(axis=-1)}

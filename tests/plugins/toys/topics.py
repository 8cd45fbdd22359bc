"""The toy task: the topic of a text, counted as hits."""

from __future__ import annotations

import numpy as np

from quantbench.schema.results import Scores
from quantbench.served import text_classification as served
from quantbench.tasks import text_classification as texts

SUMMARY = "the topic of a text, hit or missed"
PIPELINE_TAG = "text-classification"
AUTO_CLASS = texts.AUTO_CLASS
ARCHITECTURE_SUFFIX = texts.ARCHITECTURE_SUFFIX
DATA_KEYS = ("primary",)
ARGS = ()
METRICS = {"hits": ("hits",)}
OUTPUTS = texts.OUTPUTS
PROCESSOR = texts.PROCESSOR
LIBRARIES = ()
EXTRA = ""
SERVED = served
COLUMNS = ("hit",)

check = texts.check
references = texts.references
prepare = texts.prepare
serving = texts.serving
decode = served.decode
likelihood = texts.likelihood


def known_metrics(settings):
    return tuple(METRICS)


def default_metrics(settings, labels=()):
    return tuple(METRICS)


def default_limit(settings, labels=()):
    return "hits", 0.01


def score(examples, predictions, original):
    outcomes = tuple((float(a[0] == b[0]),) for a, b in zip(examples.references, predictions, strict=True))
    return Scores(
        metrics=metrics(COLUMNS, np.asarray(outcomes), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=sum(a != b for a, b in zip(predictions, original, strict=True)),
        columns=COLUMNS,
        outcomes=outcomes,
    )


def metrics(columns, outcomes, weights):
    return {"hits": weights @ outcomes[:, 0] / weights.sum(axis=-1)}

"""Feature extraction: the embedding of a text, as search and clustering use it.

An embedding is a text's tokens pooled (``task_args.pooling``) and brought to length 1, or what the modules of a folder
of sentence-transformers make of it, whose limit and prompts hold too. What counts is how near each stays to the
original's, and how many of its nearest neighbours among the other texts stay nearest; on pairs of texts with a
similarity, how well they are ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, JsonValue

from quantbench.plugins.examples import Prediction
from quantbench.plugins.options import typed
from quantbench.plugins.protocols import Likelihood, Rule
from quantbench.schema.base import digest
from quantbench.schema.results import Scores
from quantbench.schema.settings import Settings, Sources, TaskArgs
from quantbench.served import feature_extraction as served
from quantbench.sources import cells
from quantbench.sources import labels as names_of_labels
from quantbench.tasks import _embeddings, _label_metrics, _neighbours
from quantbench.tasks._text import EmbeddingProcessor

SUMMARY = "an embedding per text, held against the original's; on pairs of texts also their similarity"
PIPELINE_TAG = "feature-extraction"
AUTO_CLASS = "AutoModel"
ARCHITECTURE_SUFFIX = ""
DATA_KEYS = ("primary", "secondary")
NEIGHBOURS = "neighbours_kept"
METRICS: Mapping[str, tuple[str, ...]] = {
    name: (name,) for name in ("cosine", "lowest_cosine", "spearmanr", NEIGHBOURS)
}
OUTPUTS = {"last_hidden_state": {0: "batch_size", 1: "sequence_length"}}
PROCESSOR = EmbeddingProcessor
SERVED = served
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
COLUMNS = ("cosine", NEIGHBOURS)
PAIR_COLUMNS = ("cosine", *_label_metrics.NUMBERS)
CHANGED = 0.99
"""Cosine to the original's embedding below which a text counts as changed."""


class Args(TaskArgs, extra="forbid"):
    """Options of this task.

    ``pooling`` of a text's tokens is by default what the model's folder says, else their mean. ``prompt`` stands before
    every text: the name of one that the folder of sentence-transformers has, or a text, which may be empty; by default
    that which the folder names as its default, else none.
    """

    pooling: _embeddings.Pooling | None = None
    prompt: Annotated[str, Field(strict=True)] | None = None


RULES: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class EmbeddedExamples(served.Encoded):
    """Tokenized texts, one or two per example, and how alike these are.

    Attributes:
        similarities: of each pair of texts; None where there are no pairs.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    similarities: Sequence[float] | None
    fingerprint: str
    notes: tuple[str, ...]


def known_metrics(sources: Sources) -> tuple[str, ...]:
    """Cosines always, the correlation only of pairs of texts that have a similarity, neighbours only of others."""
    left_out = NEIGHBOURS if sources.dataset.ref_keys else "spearmanr"
    return tuple(name for name in METRICS if name != left_out)


def default_metrics(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """The mean cosine, and the correlation of pairs; without pairs the share of neighbours that are kept."""
    return ("cosine", "spearmanr" if sources.dataset.ref_keys else NEIGHBOURS)


def default_limit(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
    """The correlation may drop by 0.005; without pairs the mean cosine."""
    return ("spearmanr" if sources.dataset.ref_keys else "cosine"), 0.005


def likelihood(sources: Sources) -> Likelihood:
    """``gaussian``: every number of an embedding is a mean with variance 1."""
    return "gaussian"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in the columns of a split, given its ``datasets.Features``."""
    pairs = "secondary" in settings.dataset.data_keys
    found = names_of_labels.columns(settings, features, split, {"primary": "texts"}, refs=int(pairs), example="score")
    if found:
        return found
    found = names_of_labels.no_texts(settings, features)
    for column in settings.dataset.ref_keys:
        found += names_of_labels.check_number(features[column], column, "similarity")
    return found


def check_model(sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """No mistakes: every model that gives hidden states embeds."""
    return []


def references(sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
    """The similarity of each pair, None where it has none; of texts that are no pairs nothing is needed."""
    refs = sources.dataset.ref_keys
    return names_of_labels.numbers(dataset, refs[0]) if refs else [0.0] * len(dataset)


def prepare(sources: Sources, dataset: Any, processor: Any, model_config: Any) -> EmbeddedExamples:
    """Tokenize texts, or both texts of pairs apart."""
    args = serving(sources, processor, model_config)
    columns = {key: list(dataset[column]) for key, column in sources.dataset.data_keys.items()}
    encoded = served.encode(names_of_labels.rows(columns), processor, args)
    similarities = cells.references(dataset) if sources.dataset.ref_keys else None
    limit = processor.facts.limit
    full = sum(cost == limit for cost in encoded.costs)
    notes = (f"{full} texts of the evaluation set reach the model's maximum of {limit} tokens and may be cut off",)
    made = {"inputs": encoded.inputs, "similarities": similarities, "args": args}
    return EmbeddedExamples(
        **vars(encoded),
        similarities=similarities,
        fingerprint=digest({**made, "processor": processor.known()}),
        notes=(
            *(notes if full else ()),
            *_notes(processor, str(args["prompt"])),
            *processor.notes,
            *processor.doubts(encoded.inputs),
        ),
    )


def serving(sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What texts are encoded and embedded with, here and beside a deployed model.

    Raises:
        BadInput: if sources and the model's folder say another pooling, or the folder has no prompt of that name.

    """
    args, declared = typed(Args, sources), processor.declared
    prompt = declared.prompt if declared else ""
    if args.prompt is not None:
        prompt = _embeddings.prompt("prompt", args.prompt, declared)
    return {"steps": _embeddings.steps(args.pooling, declared, model_config), "prompt": prompt}


def _notes(processor: Any, prompt: str) -> tuple[str, ...]:
    """How embeddings are made, where that is not only the mean of a text."""
    if processor.declared:
        return (processor.declared.describe(prompt),)
    return (f"Before every text stands the prompt {prompt!r}",) if prompt else ()


decode = served.decode


def score(examples: EmbeddedExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Cosines to the original's embeddings (of a pair their mean), with neighbours, or the similarity within pairs."""
    found, before = np.asarray(predictions), np.asarray(original)
    near = served.cosines(found, before)
    if examples.similarities is None:
        columns: tuple[str, ...] = COLUMNS
        outcomes = np.stack([near, _neighbours.kept(found, before)], axis=1)
    else:
        columns = PAIR_COLUMNS
        first, second = np.split(found, 2)
        within = served.cosines(first, second)
        outcomes = np.stack([near.reshape(2, -1).mean(axis=0), np.asarray(examples.similarities), within], axis=1)
    return Scores(
        metrics=metrics(columns, outcomes, np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=int((outcomes[:, 0] < CHANGED).sum()),
        columns=columns,
        outcomes=tuple(tuple(row) for row in outcomes.tolist()),
    )


def metrics(
    columns: Sequence[str], outcomes: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]
) -> _label_metrics.Values:
    """The mean and the lowest cosine, and Spearman's correlation of pairs, or the share of neighbours kept."""
    near = outcomes[:, 0]
    lowest = np.where(weights > 0, near, np.inf).min(axis=-1)
    found = {"cosine": _label_metrics.ratio(weights @ near, weights.sum(axis=-1)), "lowest_cosine": lowest}
    if tuple(columns) == PAIR_COLUMNS:
        found["spearmanr"] = _label_metrics.of_numbers(outcomes[:, 1:], weights)["spearmanr"]
    elif tuple(columns) == COLUMNS:
        found[NEIGHBOURS] = _label_metrics.ratio(weights @ outcomes[:, 1], weights.sum(axis=-1))
    return found

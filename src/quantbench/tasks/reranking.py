"""Reranking: how a cross-encoder, which reads a query and a passage together, ranks the passages of a query.

Its score is the model's one output, as it is, or of two labels how far the logit of the relevant one lies above the
other's. Functions that sentence-transformers puts behind it (a sigmoid) change no order and are left out. There is one
row of outcomes per query.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from quantbench.served import queries
from quantbench.served import reranking as served
from quantbench.sources import judgments
from quantbench.sources import labels as names_of_labels
from quantbench.sources.cells import some
from quantbench.sources.judgments import NEGATIVE, POSITIVE, RELEVANT, Judged
from quantbench.tasks import _ranking
from quantbench.tasks._text import PairProcessor

SUMMARY = "a query's passages in the order that a cross-encoder gives them"
PIPELINE_TAG = "text-ranking"
AUTO_CLASS = "AutoModelForSequenceClassification"
ARCHITECTURE_SUFFIX = "ForSequenceClassification"
DATA_KEYS = judgments.DATA_KEYS
METRICS: Mapping[str, tuple[str, ...]] = {
    name: (name,) for name in (*_ranking.at_every(_ranking.CUTOFFS), _ranking.MAP)
}
OUTPUTS = {"logits": {0: "batch_size"}}
PROCESSOR = PairProcessor
SERVED = served
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
SAYS_RELEVANT = ("relevant", "true", "yes", "positive")
"""Names of the label, of two, that a passage is relevant; case does not count."""
DOUBTED = 4096
"""Inputs that are looked at for unknown tokens."""


class Args(TaskArgs, extra="forbid"):
    """Options of this task.

    ``k`` is how deep rankings are looked at, one depth or several; the first is that of the limit. ``relevant_label``
    is the label, of two, that says that a passage is relevant; needed where its name does not say so.
    """

    k: _ranking.Cutoffs = (10,)
    relevant_label: Annotated[str, Field(strict=True)] | None = None


RULES: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class RankedExamples(served.Encoded):
    """Tokenized pairs, and what is right.

    Attributes:
        truths: of each query, with its passages by their places in the order of ties.
        places: of each query, the places in the order of ties of the passages that are scored, as they stand in inputs.
        depths: how deep rankings are looked at.
        samples: of each query the input of one passage.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    truths: Sequence[_ranking.Truth]
    places: Sequence[Sequence[int]]
    depths: Sequence[int]
    samples: Sequence[int]
    fingerprint: str
    notes: tuple[str, ...]


def known_metrics(sources: Sources) -> tuple[str, ...]:
    """All measures at the depths that are asked for, and the mean precision of whole rankings."""
    return (*_ranking.at_every(typed(Args, sources).k), _ranking.MAP)


def default_metrics(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """NDCG and MRR at the depths that are asked for, and the mean precision of whole rankings."""
    return (*_ranking.at_every(typed(Args, sources).k, ("ndcg", "mrr")), _ranking.MAP)


def default_limit(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
    """NDCG at the first depth may drop by 0.005."""
    return _ranking.name("ndcg", typed(Args, sources).k[0]), _ranking.DROP


def likelihood(sources: Sources) -> Likelihood:
    """``gaussian``: a score is a mean with variance 1."""
    return "gaussian"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in the columns of a split, given its ``datasets.Features``."""
    found = judgments.check(settings, features, split)
    keys = settings.dataset.data_keys
    if not found and POSITIVE in keys and NEGATIVE not in keys:
        message = "data_keys has positive passages only, so that there is nothing to rank them above"
        found.append(("dataset.data_keys", f"{message}; add negative, the column of passages that are not relevant"))
    return found


def check_model(sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Mistakes in the model's outputs: neither a score nor two labels of which one says relevant."""
    labels, asked = names_of_labels.of_model(model_config), typed(Args, sources).relevant_label
    key = "task_args.relevant_label"
    if len(labels) > 2:
        message = f"the model has {len(labels)} labels ({some(labels)}), and a reranker has one output, or two labels"
        return [("task", f"{message}; choose task: text-classification, or another model")]
    if len(labels) == 2 and asked is None and _relevant(labels, None) is None:
        message = f"which of the labels {labels[0]} and {labels[1]} says that a passage is relevant is not known"
        return [("task_args", f"{message}; name it: task_args.relevant_label")]
    if asked is not None and (len(labels) == 1 or asked not in labels):
        told = "the model has one output, which is the score; remove it"
        return [(key, told if len(labels) == 1 else f"{asked!r} is no label of the model; it has {some(labels)}")]
    return []


def _relevant(labels: Sequence[str], asked: str | None) -> int | None:
    """The number of the label that says relevant; None where there is one output, or none of two says so clearly."""
    if len(labels) != 2:
        return None
    if asked is not None:
        return labels.index(asked)
    found = [number for number, label in enumerate(labels) if label.lower() in SAYS_RELEVANT]
    return found[0] if len(found) == 1 else None


def references(sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
    """The grades of each query's passages, None where none are judged."""
    return judgments.grades(sources, dataset)


def prepare(sources: Sources, dataset: Any, processor: Any, model_config: Any) -> RankedExamples:
    """Tokenize each query with each of its passages."""
    args, depths = serving(sources, processor, model_config), typed(Args, sources).k
    rows = judgments.read(sources, dataset)
    given = [
        {"query": row.query, "passages": [passage.text for passage in row.passages if passage.text is not None]}
        for row in rows
    ]
    encoded = served.encode(given, processor, args)
    places, truths = zip(*(_in_order(row) for row in rows), strict=True)
    made = {
        "inputs": _ranking.fingerprint(encoded.inputs),
        "truths": [[sorted(truth.grades.items()), list(truth.absent)] for truth in truths],
        "places": places,
        "depths": depths,
        "args": args,
        "processor": processor.known(),
    }
    return RankedExamples(
        **vars(encoded),
        truths=truths,
        places=places,
        depths=depths,
        samples=_samples(encoded.members),
        fingerprint=digest(made),
        notes=(*judgments.notes(rows), *_notes(rows, encoded, processor)),
    )


def _in_order(row: Judged) -> tuple[list[int], _ranking.Truth]:
    """The place of each scored passage in the order of ties, and what is right, by these places.

    Of passages of equal score the one of the higher place stands first: by ids, so that ties fall as in trec_eval, else
    as they stand in the row.
    """
    there = [
        (passage, grade) for passage, grade in zip(row.passages, row.grades, strict=True) if passage.text is not None
    ]
    order = sorted(range(len(there)), key=lambda number: ((there[number][0].id or "").encode(), number))
    place = {number: where for where, number in enumerate(order)}
    places = [place[number] for number in range(len(there))]
    absent = [grade for passage, grade in zip(row.passages, row.grades, strict=True) if passage.text is None]
    return places, _ranking.Truth({place[number]: grade for number, (_, grade) in enumerate(there)}, absent)


def _samples(members: Sequence[int]) -> list[int]:
    """The input of one passage of each query, in turn the first, the second and so on."""
    starts = np.cumsum([0, *members])
    return [int(starts[row]) + row % count for row, count in enumerate(members) if count]


def serving(sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Which label says relevant, here and beside a deployed model."""
    return {"relevant": _relevant(names_of_labels.of_model(model_config), typed(Args, sources).relevant_label)}


def _notes(rows: Sequence[Judged], encoded: served.Encoded, processor: Any) -> Iterator[str]:
    """How many pairs there are, which queries say nothing, what was cut off or is unknown."""
    yield f"{len(encoded.inputs)} passages of {len(rows)} queries are ranked, each among those of its query"
    alike = sum(bool(row.grades) and min(row.grades) >= RELEVANT for row in rows)
    if alike:
        yield f"queries with relevant passages only, of which any order is right: {alike}"
    limit = processor.facts.limit
    full = sum(cost == limit for cost in encoded.costs)
    if full:
        yield f"pairs that reach the model's maximum of {limit} tokens and may be cut off: {full}"
    yield from processor.notes
    yield from processor.doubts(encoded.inputs[:DOUBTED])


decode = served.decode


def score(examples: RankedExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Outcomes per query; a query counts as changed where another passage is the first."""
    outcomes: list[tuple[float, ...]] = []
    changed = 0
    rankings = zip(_rankings(examples, predictions), _rankings(examples, original), strict=True)
    for truth, (ranking, before) in zip(examples.truths, rankings, strict=True):
        found = _ranking.values(ranking, truth, examples.depths)
        outcomes.append((*found, _ranking.mean_precision(ranking, truth)))
        changed += int(ranking[:1] != before[:1])
    columns = (*_ranking.at_every(examples.depths), _ranking.MAP)
    return Scores(
        metrics=metrics(columns, np.asarray(outcomes), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=changed,
        columns=columns,
        outcomes=tuple(outcomes),
    )


def _rankings(examples: RankedExamples, predictions: Sequence[Prediction]) -> Iterator[list[int]]:
    """The passages of each query by their places in the order of ties, the best first."""
    start = 0
    for places in examples.places:
        scores = np.empty(len(places))
        scores[list(places)] = [prediction[0] for prediction in predictions[start : start + len(places)]]
        yield queries.ranked(scores).tolist()
        start += len(places)


metrics = _ranking.means

"""How good a ranking is, by the rules of trec_eval (https://github.com/usnistgov/trec_eval, version 9), at a depth k.

* ``ndcg``: gains are grades, those below 0 count as 0; the discount of place i is log2(i + 1) (``ndcg_cut``).
* ``mrr``: one over the place of the first relevant passage, 0 where none is among the first k (``recip_rank``).
* ``recall``: relevant passages among the first k, of all that are relevant (``recall``).
* ``map``: the mean precision at the places of relevant passages, of the whole ranking (``map``).

A passage that nobody judged is irrelevant; a query without relevant passages counts as 0. Each is a mean over queries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from quantbench.sources.judgments import RELEVANT
from quantbench.tasks import _label_metrics

Array = np.ndarray[Any, Any]
CUTOFFS = (1, 3, 5, 10, 20, 50, 100, 1000)
"""Depths that rankings are looked at."""
AT_DEPTH = ("ndcg", "mrr", "recall")
MAP = "map"
DROP = 0.005
"""What nDCG may drop by default."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, int) else value


Cutoffs = Annotated[tuple[Literal[1, 3, 5, 10, 20, 50, 100, 1000], ...], BeforeValidator(_several), Field(min_length=1)]
"""One depth or several."""


@dataclass(frozen=True)
class Truth:
    """What is right for a query.

    Attributes:
        grades: by the number of the passage.
        absent: grades of passages that are not there to be found.

    """

    grades: Mapping[int, int]
    absent: Sequence[int] = field(default=())

    @property
    def relevant(self) -> int:
        """How many passages are relevant."""
        return sum(grade >= RELEVANT for grade in (*self.grades.values(), *self.absent))


def name(measure: str, depth: int) -> str:
    """What a measure at a depth is called, such as ``ndcg_at_10``."""
    return f"{measure}_at_{depth}"


def at_every(depths: Sequence[int], measures: Sequence[str] = AT_DEPTH) -> tuple[str, ...]:
    """Names of measures at depths."""
    return tuple(name(measure, depth) for depth in depths for measure in measures)


def values(ranking: Sequence[int] | Array, truth: Truth, depths: Sequence[int]) -> list[float]:
    """The measures of :func:`at_every` of one query; ``ranking`` are numbers of passages, as deep as is asked for."""
    found: list[float] = []
    for depth in depths:
        grades = [truth.grades.get(int(number), 0) for number in ranking[:depth]]
        ideal = sorted((*truth.grades.values(), *truth.absent), reverse=True)[:depth]
        best, hits = _gain(ideal), [place for place, grade in enumerate(grades, start=1) if grade >= RELEVANT]
        found += [
            _gain(grades) / best if best else 0.0,
            1 / hits[0] if hits else 0.0,
            len(hits) / truth.relevant if truth.relevant else 0.0,
        ]
    return found


def mean_precision(ranking: Sequence[int] | Array, truth: Truth) -> float:
    """The measure ``map`` of one query, from all passages."""
    grades = [truth.grades.get(int(number), 0) for number in ranking]
    hits = [place for place, grade in enumerate(grades, start=1) if grade >= RELEVANT]
    return sum(count / place for count, place in enumerate(hits, start=1)) / truth.relevant if truth.relevant else 0.0


def _gain(grades: Sequence[int]) -> float:
    places = np.arange(2, len(grades) + 2)
    return float((np.maximum(grades, 0) / np.log2(places)).sum()) if len(grades) else 0.0


def means(columns: Sequence[str], outcomes: Array, weights: Array) -> _label_metrics.Values:
    """The mean of every column over weighted queries."""
    total = weights.sum(axis=-1)
    return {name: _label_metrics.ratio(weights @ outcomes[:, place], total) for place, name in enumerate(columns)}


def fingerprint(inputs: Sequence[Mapping[str, Array]]) -> str:
    """SHA-256 over inputs, of which there may be too many to be written as JSON."""
    found = hashlib.sha256()
    for given in inputs:
        for key in sorted(given):
            found.update(f"{key} {len(given[key])} ".encode())
            found.update(np.ascontiguousarray(given[key]).tobytes())
    return found.hexdigest()

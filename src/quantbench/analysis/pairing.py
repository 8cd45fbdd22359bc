"""Which runs of two folders were measured alike, so that their figures can be held against each other.

A run's twin is the one with the same settings, or else the one of which the same was measured, or else the one of the
same name. What was asked of timing and of evaluation must then be the same; what the model is made of may differ, as
that is what two folders are compared for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quantbench.plugins.former import ADDED, spelled_out
from quantbench.schema.base import digest
from quantbench.schema.results import Latency, Result
from quantbench.schema.settings import DATASET

SCORED_BY = ("task", "task_args", "dataset", "max_eval_samples")
"""Parameters that decide on what and how a model is scored."""
SHOWN = ("model_name_or_path", "backend", *SCORED_BY)
"""Parameters whose differences are reported elsewhere, or are known to who compares."""


@dataclass(frozen=True)
class Pair:
    """A run in both folders."""

    first: Result
    second: Result

    @property
    def name(self) -> str:
        """What the run is called in the first folder."""
        return self.first.run.name

    @property
    def not_timed_alike(self) -> list[str]:
        """Why speeds cannot be compared: conditions under which the two were timed that differ; empty if they can."""
        threads = [result.run.settings.time_benchmark_args.num_threads or _usual(result) for result in self._both]
        originals = [result.original for result in self._both]
        found = [f"num_threads {threads[0]} against {threads[1]}"] if threads[0] != threads[1] else []
        unlike = originals[0] != originals[1]
        return [*found, *([f"the original run by {originals[0]} against {originals[1]}"] if unlike else [])]

    @property
    def not_scored_alike(self) -> list[str]:
        """Why scores cannot be compared: data or rules that differ; empty if they can, or if one was not scored."""
        if not all(result.scores for result in self._both):
            return []
        one, other = (result.scores["optimized"] for result in self._both)
        data = [result.sources.get("evaluation") for result in self._both]
        if data[0] == data[1] and (one.columns, one.examples) == (other.columns, other.examples):
            return []
        return _differing(self.first, self.second, SCORED_BY) or ["other evaluation data"]

    @property
    def differing(self) -> list[str]:
        """What else differs: how long arms were timed, how the model was made, in what batches it was scored."""
        known = [name for name in type(self.first.run.settings).model_fields if name not in SHOWN]
        found = _differing(self.first, self.second, known)
        sizes = [result.scores["optimized"].batch_size if result.scores else None for result in self._both]
        if sizes[0] != sizes[1] and all(result.scores for result in self._both):
            found.append("scored in batches of {} against {}".format(*(size or "any size" for size in sizes)))
        return [text for text in found if not text.startswith("time_benchmark_args.num_threads")]

    def latencies(self) -> Iterator[tuple[Latency, Latency]]:
        """Both at every shape that was timed alike: batches of examples only if these are the same."""
        if self.not_timed_alike:
            return
        twins = {(shape.batch_size, shape.input_length): shape for shape in self.second.latency}
        for latency in self.first.latency:
            twin = twins.get((latency.batch_size, latency.input_length))
            if twin is not None and not (latency.input_length == DATASET and not self._same_examples()):
                yield latency, twin

    @property
    def _both(self) -> tuple[Result, Result]:
        return self.first, self.second

    def _same_examples(self) -> bool:
        drawn = [
            (result.sources.get("evaluation"), result.run.settings.time_benchmark_args.seed) for result in self._both
        ]
        return drawn[0] == drawn[1]


def pairs(first: Sequence[Result], second: Sequence[Result]) -> list[Pair]:
    """Every run that is done in both, in the order of the first; each is taken once.

    Runs of equal settings are found first, then those of which the same was measured, whatever they are called and
    however long it took, and then those of one name, of which something was changed.
    """
    left = {id(result): result for result in second if result.done}
    twins: dict[int, Result] = {}
    for same in (_key, _measured, _name):
        places: dict[str, list[int]] = {}
        for place, result in left.items():
            places.setdefault(same(result), []).append(place)
        for result in first:
            alike = places.get(same(result), [])
            if result.done and id(result) not in twins and alike:
                twins[id(result)] = left.pop(alike.pop(0))
    return [Pair(result, twins[id(result)]) for result in first if id(result) in twins]


def _measured(result: Result) -> str:
    """What was measured, how precisely aside: the model, the data, the shapes and the threads that really were used."""
    settings = spelled_out(result.run.settings)
    settings = {name: value for name, value in settings.items() if name not in ("backend", "time_benchmark_args")}
    args = result.run.settings.time_benchmark_args
    return digest({**settings, "seed": args.seed, "num_threads": args.num_threads or _usual(result)})


def _key(result: Result) -> str:
    return result.run.key


def _name(result: Result) -> str:
    return result.run.name


def _usual(result: Result) -> int:
    return result.environment.threads


def _differing(first: Result, second: Result, names: Sequence[str]) -> list[str]:
    """Parameters with other values, by dotted key, as ``key one against other``."""
    found = []
    settings = [{**ADDED, **spelled_out(result.run.settings)} for result in (first, second)]
    for name in names:
        one, other = (dict(_leaves(name, values[name])) for values in settings)
        found += [
            f"{key} {one.get(key, 'none')} against {other.get(key, 'none')}"
            for key in dict.fromkeys((*one, *other))
            if one.get(key) != other.get(key)
        ]
    return found


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(f"{key}.{name}", inner)

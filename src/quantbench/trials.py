"""Versions of a model tried on growing shards of examples that the final evaluation never sees."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbench import registry
from quantbench.intervals import Interval, paired_bootstrap
from quantbench.optimize import optimize
from quantbench.plan import run_of
from quantbench.quantize.sampling import choose
from quantbench.records import ArmSpec
from quantbench.search import Verdict, judge
from quantbench.settings import Calibration, Settings
from quantbench.workbench import Workbench

SHARDS = (8, 8, 4, 2)
"""The examples are looked at in disjoint parts of an eighth, an eighth, a quarter and a half."""
SHARE = 1 / 3
"""Examples to tune on, as a share of those of the evaluation set, if there are as many."""
RESAMPLES = 500


@dataclass(frozen=True)
class Outcome:
    """What came of a version: losses (original minus optimized) by metric on how many examples, and the verdict."""

    losses: dict[str, Interval]
    examples: int
    verdict: Verdict


@dataclass
class Bench:
    """Examples to tune on, and what has been spent on them.

    Attributes:
        settings: of the benchmark; its calibration split gives the examples.
        folder: where versions that are tried are written.
        tokens: forwarded so far, one backward pass counting as two.

    """

    settings: Settings
    workbench: Workbench
    folder: Path
    calibration: Calibration
    tokens: float = 0.0
    _shards: list[Any] = field(default_factory=list)
    _specs: dict[str, ArmSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings, workbench = self.settings, self.workbench
        split = workbench.split(settings.dataset, "calibration")
        model, task = workbench.model(settings), registry.task(settings.task)
        taken = set(choose(len(split.data), self.calibration))
        free = [index for index in range(len(split.data)) if index not in taken] or list(range(len(split.data)))
        random.Random(self.calibration.seed).shuffle(free)
        evaluation = workbench.examples(settings).inputs
        self.evaluation_tokens = sum(len(example["input_ids"]) for example in evaluation)
        wanted = free[: max(len(SHARDS), round(SHARE * len(evaluation)))]
        start = 0
        for part in SHARDS:
            stop = min(len(wanted), start + max(1, len(wanted) // part))
            data = split.data.select(wanted[start:stop])
            if len(data):
                self._shards.append(task.prepare(settings, data, model.tokenizer, model.config))
            start = stop

    @property
    def evaluations(self) -> float:
        """What was spent so far, in units of one evaluation of the whole evaluation set."""
        return self.tokens / self.evaluation_tokens

    def spend(self, inputs: Sequence[Mapping[str, Sequence[int]]], times: float = 1.0) -> None:
        """Count examples that are forwarded outside of :meth:`outcome`."""
        self.tokens += times * sum(len(example["input_ids"]) for example in inputs)

    def sample(self, count: int) -> Sequence[Mapping[str, Sequence[int]]]:
        """Inputs of the first examples."""
        return [example for shard in self._shards for example in shard.inputs][:count]

    def spec(self, settings: Settings) -> ArmSpec:
        """The arm of a version, which is made if it is new."""
        run = run_of(settings)
        if run.key not in self._specs:
            _, self._specs[run.key] = optimize(run, self.folder, self.workbench)
        return self._specs[run.key]

    def outcome(self, spec: ArmSpec, limits: Mapping[str, float], label: str) -> Outcome:
        """Try a version on shard after shard, until a verdict is certain or there are no more."""
        task, plain = registry.task(self.settings.task), self.workbench.float_model(self.settings)
        original: list[tuple[int, ...]] = []
        optimized: list[tuple[int, ...]] = []
        for number, shard in enumerate(self._shards, start=1):
            original += task.score(shard, self._predictions(plain, shard, "the float export")).outcomes
            optimized += task.score(shard, self._predictions(spec, shard, label)).outcomes
            differences = paired_bootstrap(original, optimized, task.metrics_from_counts, resamples=RESAMPLES)
            losses = {name: _negative(value) for name, value in differences.items() if name in limits}
            verdict = judge(losses, limits, number == len(self._shards))
            if verdict != "open":
                break
        return Outcome(losses, len(optimized), verdict)

    def original(self) -> dict[str, float]:
        """Metric values of the original on the first shard, for limits that are relative to them."""
        task, shard = registry.task(self.settings.task), self._shards[0]
        rows = self._predictions(self.workbench.float_model(self.settings), shard, "the original")
        return dict(task.score(shard, rows).metrics)

    def _predictions(self, spec: ArmSpec, shard: Any, label: str) -> list[tuple[int, ...]]:
        made = self.workbench.made
        rows = self.workbench.predictions_of(spec, self.settings, shard, label)
        if self.workbench.made > made:
            self.spend(shard.inputs)
        return rows


def _negative(interval: Interval) -> Interval:
    return Interval(-interval.value, -interval.high, -interval.low)

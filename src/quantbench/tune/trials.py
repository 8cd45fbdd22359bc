"""Versions of a model tried on growing shards of examples that the final evaluation never sees."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from quantbench.analysis.intervals import Interval, paired_bootstrap
from quantbench.config.plan import run_of
from quantbench.pipeline.context import Context
from quantbench.pipeline.evaluate import predictions
from quantbench.pipeline.export import FloatModel, float_arm
from quantbench.pipeline.load import Loaded, evaluated, load_rows, prepare
from quantbench.pipeline.optimize import optimize
from quantbench.pipeline.predict import scored_batch_size
from quantbench.pipeline.rows import need_labels
from quantbench.plugins import registry
from quantbench.plugins.examples import Input, Prediction, sampled
from quantbench.quantize.calibration.sampling import choose
from quantbench.schema.results import ArmSpec, Artifact
from quantbench.schema.settings import Settings
from quantbench.tune.search import Verdict, judge

SHARDS = (8, 8, 4, 2)
"""The examples are scored in disjoint parts of an eighth, an eighth, a quarter and a half."""
SHARE = 1 / 3
"""Examples to tune on, as a share of those of the evaluation set, if there are as many."""
RESAMPLES = 500


@dataclass(frozen=True)
class Outcome:
    """Losses of a version (original minus optimized) by metric, on how many examples, and the verdict."""

    losses: dict[str, Interval]
    examples: int
    verdict: Verdict


@dataclass
class TuningSet:
    """The examples that versions are tried on, and what has been spent on them.

    Attributes:
        settings: of the benchmark.
        loaded: the model, and the evaluation examples.
        exported: its float export, which all versions are made from.
        folder: where versions that are tried are written.
        context: where they are made and predict.
        shards: the examples, in parts that are tried one after another.
        evaluation_tokens: of one evaluation of the whole evaluation set.
        tokens: forwarded so far, one backward pass counting as two.

    """

    settings: Settings
    loaded: Loaded
    exported: FloatModel
    folder: Path
    context: Context
    shards: Sequence[Any]
    evaluation_tokens: int
    tokens: float = 0.0
    _made: dict[str, tuple[Artifact, ArmSpec]] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        loaded: Loaded,
        exported: FloatModel,
        folder: Path,
        context: Context,
        tokens: float = 0.0,
    ) -> TuningSet:
        """Take the examples from the calibration split, apart from the calibration samples where there are others.

        Raises:
            BadInput: if that has no labels.

        """
        sources, calibration = settings.sources, settings.calibration
        model = loaded.model
        split = need_labels(sources, load_rows(sources, "calibration", model, context))
        taken = set(choose(len(split.data), calibration))
        free = [index for index in range(len(split.data)) if index not in taken] or list(range(len(split.data)))
        random.Random(calibration.seed).shuffle(free)
        available = evaluated(load_rows(sources, "eval", model, context), settings.max_eval_samples)
        wanted = free[: max(len(SHARDS), round(SHARE * available))]
        shards, start = [], 0
        for part in SHARDS:
            stop = min(len(wanted), start + max(1, len(wanted) // part))
            data = split.data.select(wanted[start:stop])
            if len(data):
                shards.append(prepare(sources, data, model))
            start = stop
        whole = sum(loaded.examples.costs)
        return cls(settings, loaded, exported, folder, context, shards, whole, tokens)

    @property
    def evaluations(self) -> float:
        """What was spent so far, in units of one evaluation of the whole evaluation set."""
        return self.tokens / float(self.evaluation_tokens)

    def spend(self, costs: Sequence[int], times: float = 1.0) -> None:
        """Count inputs that are forwarded outside of :meth:`outcome`."""
        self.tokens += times * sum(costs)

    def sample(self, count: int) -> tuple[list[Input], list[int]]:
        """The first inputs that stand for examples, and what each costs."""
        places = [(shard, index) for shard in self.shards for index in sampled(shard)][:count]
        return [shard.inputs[index] for shard, index in places], [shard.costs[index] for shard, index in places]

    def spec(self, settings: Settings) -> ArmSpec:
        """The arm of a version, which is made if it is new."""
        return self._version(settings)[1]

    def bytes(self, settings: Settings) -> int:
        """The size of a version's files, which are made if it is new."""
        return self._version(settings)[0].bytes

    def _version(self, settings: Settings) -> tuple[Artifact, ArmSpec]:
        run = run_of(settings)
        if run.key not in self._made:
            self._made[run.key] = optimize(run, self.folder, self.loaded.model, self.exported, self.context)
        return self._made[run.key]

    def outcome(self, settings: Settings, limits: Mapping[str, float], label: str, most: int | None = None) -> Outcome:
        """Try a version on shard after shard, until a verdict is certain or there are no more, or after so many."""
        task, plain = registry.task(self.settings.task), float_arm(self.exported, self.settings)
        spec, batch_size = self.spec(settings), scored_batch_size(settings)
        original: list[Prediction] = []
        optimized: list[Prediction] = []
        for number, shard in enumerate(self.shards[:most], start=1):
            unchanged = self._predictions(plain, shard, "the float export")
            before = task.score(shard, unchanged, unchanged)
            original += before.outcomes
            optimized += task.score(shard, self._predictions(spec, shard, label, batch_size), unchanged).outcomes
            metrics = partial(task.metrics, before.columns)
            differences = paired_bootstrap(original, optimized, metrics, resamples=RESAMPLES)
            losses = {name: _negative(value) for name, value in differences.items() if name in limits}
            verdict = judge(losses, limits, number == len(self.shards))
            if verdict != "open":
                break
        return Outcome(losses, len(optimized), verdict)

    def original(self) -> dict[str, float]:
        """Metric values of the original on the first shard, for limits that are relative to them."""
        task, shard = registry.task(self.settings.task), self.shards[0]
        rows = self._predictions(float_arm(self.exported, self.settings), shard, "the original")
        return dict(task.score(shard, rows, rows).metrics)

    def _predictions(self, spec: ArmSpec, shard: Any, label: str, batch_size: int | None = None) -> list[Prediction]:
        given = Loaded(self.loaded.model, shard)
        found = predictions(spec, self.settings.task, given, label, self.context, batch_size)
        if found.fresh:
            self.spend(shard.costs)
        return found.rows


def _negative(interval: Interval) -> Interval:
    return Interval(0.0 - interval.value, 0.0 - interval.high, 0.0 - interval.low)  # a loss of nothing has no sign

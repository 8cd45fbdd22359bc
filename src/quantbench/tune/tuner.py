"""The search for the version to deploy.

It observes activations and sensitivities once, times a first version of every candidate, and tries versions on examples
of the calibration split, the one of least predicted time first. A few finalists are evaluated once on the evaluation
split, whose scores take no part in the search, and timed against the original; these figures decide.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from quantbench.analysis import speedups
from quantbench.config.plan import run_of
from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.graph.view import Graph
from quantbench.pipeline import calibrate, predict, worker
from quantbench.pipeline.context import Context
from quantbench.pipeline.export import float_model
from quantbench.pipeline.load import load
from quantbench.pipeline.positions import read_only
from quantbench.pipeline.pruning import units_of
from quantbench.plugins import registry
from quantbench.plugins.quantizing import Candidate
from quantbench.quantize.mixed import sensitivity
from quantbench.quantize.mixed.error_hooks import Groups
from quantbench.quantize.mixed.products import find_products, grouped
from quantbench.results.store import Store
from quantbench.schema.results import Result
from quantbench.schema.settings import Calibration, Settings
from quantbench.system import instruction_sets
from quantbench.tune import pruner, search, trials
from quantbench.tune.budget import Budget
from quantbench.tune.candidates import candidates_for, needs_small_tables, opset_for
from quantbench.tune.finals import keeps_within, loss_of, optimized_seconds
from quantbench.tune.screener import CANNOT_BE_MADE, FLOAT, Screener, told_shortly
from quantbench.tune.search import UNLIMITED, Footprint, Group, Limit, Schedule, Trial, pareto_front
from quantbench.tune.state import Finalist, GroupSensitivity, Tried, Tuned
from quantbench.tune.trials import TuningSet

CALIBRATION_SAMPLES, CALIBRATION_SHARE = 128, 8
SENSITIVITY_SAMPLES, SENSITIVITY_SHARE = 64, 16
"""Most examples to observe, and by what the number of evaluation examples is divided where these are few."""
BACKWARD = 3.0
"""As how many forward passes one forward and back is counted."""
MOST_FINALISTS = 3
FINALS = 5.0
"""Evaluations kept back for the end: the original, a finalist, the fastest without int8, and the export in the
frameworks of both."""

logger = logging.getLogger("quantbench")


class Tuning:
    """One search.

    Attributes:
        state: what it has found so far; written after every step.
        candidates: those to choose from, by name.
        tuning_set: the examples that versions are tried on.

    """

    def __init__(
        self,
        tuning_set: TuningSet,
        candidates: Mapping[str, Candidate],
        limits: Sequence[Limit],
        budget: Budget,
        store: Store,
        state: Tuned,
    ) -> None:
        self.tuning_set, self.candidates, self.state = tuning_set, candidates, state
        self.limits, self.budget, self.store = limits, budget, store
        self.base, self.context = tuning_set.settings, tuning_set.context
        self.loaded, self.exported = tuning_set.loaded, tuning_set.exported
        begin = time.monotonic() if budget.since is None else budget.since
        self._began = begin - sum(state.seconds.values())

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        limits: Sequence[Limit],
        budget: Budget,
        store: Store,
        context: Context,
        only: str = "*",
        thorough: bool = False,
        most: Footprint = UNLIMITED,
    ) -> Tuning:
        """Load model and data, export, and read what an earlier call has found.

        Args:
            settings: of the configuration; calibration and opset are chosen here.
            limits: what a version may lose.
            budget: time and evaluations.
            store: the output folder.
            context: where the work is done.
            only: a glob over the candidates' names.
            thorough: whether candidates that are out are searched, too.
            most: bytes that a version may take up.

        """
        loaded = load(settings, context)
        count = len(loaded.examples.inputs)
        samples = min(CALIBRATION_SAMPLES, max(8, count // CALIBRATION_SHARE))
        changes = {
            "calibration": Calibration(num_calibration_samples=samples, seed=settings.calibration.seed),
            "framework_args": settings.framework_args.model_copy(
                update={"opset": loaded.model.opset or opset_for(settings)}
            ),
        }
        base = settings.model_copy(update=changes)
        asked = (settings, limits, only, most)
        state = Tuned.read(store.folder, *asked) or Tuned.start(*asked)
        state = state.made_thorough() if thorough else state
        exported, folder = float_model(base, loaded, context), store.cache / "versions"
        if read_only(exported, loaded.model, context) != exported:
            base = base.model_copy(update={"positions": "read"})
        if most.size is not None and needs_small_tables(Graph.read(exported.path), exported.bytes, most.size):
            base = base.model_copy(update={"embedding_tables": "int8"})
        every = candidates_for(base, instruction_sets.usable(context.environment))
        chosen = {candidate.name: candidate for candidate in every if fnmatchcase(candidate.name, only)}
        tuning_set = TuningSet.prepare(base, loaded, exported, folder, context, state.tokens)
        return cls(tuning_set, chosen, limits, budget, store, state)

    def run(self, screened: Callable[[Tuned], None], screen_only: bool = False) -> Tuned:
        """Screen, measure sensitivities, search, validate and decide; what an earlier call finished is not repeated.

        Args:
            screened: is given the state as soon as the screening's answer stands.
            screen_only: whether to end with that.

        """
        with self._phase("screening"):
            self._screen()
        if self.state.screening is not None:
            screened(self.state)
        if screen_only:
            return self.state
        with self._phase("probes"):
            self._look_further()
        with self._phase("sensitivity"):
            self._sensitivities()
        with self._phase("search"):
            self._search()
        with self._phase("pruning"):
            self._prune(pruner.next_version)
        if self.budget.training:
            with self._phase("training"):
                self._prune(partial(pruner.next_trained, minutes=self.budget.training), within=math.inf)
        with self._phase("validation and timing"):
            results = self._finals()
        self._decide(results)
        return self.state

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            spent = {**self.state.seconds, name: self.state.seconds.get(name, 0.0) + time.monotonic() - begin}
            self._keep(seconds=spent)

    def _keep(self, **changes: Any) -> None:
        self.state = self.state.model_copy(update={**changes, "tokens": self.tuning_set.tokens})
        self.state.write(self.store.folder)

    def _screen(self) -> None:
        """Which candidates are in question, by times against the fastest without int8, and by first losses."""
        if not self.state.probes:
            self._screener().first(self.budget.screening_until(self._time()))

    def _look_further(self) -> None:
        """Time the candidates that the screening had no time for; each is in question, or is not, from then on."""
        until = self.budget.probing_until
        if self.state.screening is not None and not self.state.finalists and self._time() < until:
            self._screener().further(self.state, until)

    def _screener(self) -> Screener:
        return Screener(self.tuning_set, self.candidates, self.limits, self._time, self._keep)

    def _time(self) -> float:
        """Seconds that were spent so far, in this call and earlier ones."""
        return time.monotonic() - self._began

    def _sensitivities(self) -> None:
        """The sensitivity of every group of products in every mode."""
        if self.loaded.model.opset is not None:  # of an ONNX file, through which there is no way back
            return
        useful = any(candidate.mode is not None for candidate in self._searched())
        if self.state.groups or not useful or not self.budget.may_measure_sensitivities(self._time()):
            return
        graph = Graph.read(self.exported.path)
        groups = grouped(find_products(graph))
        wanted = min(SENSITIVITY_SAMPLES, max(4, len(self.loaded.examples.inputs) // SENSITIVITY_SHARE))
        inputs, costs = self.tuning_set.sample(wanted)
        self.tuning_set.spend(costs, BACKWARD)
        calibration = self.base.calibration.model_copy(update={"method": "mse"})
        model = self.loaded.model
        session: Any = registry.runtime(model.original.runtime).load(model.original, self.context.threads)
        groups_of = predict.batches(costs)
        batches = [model.processor.collate([inputs[index] for index in group]) for group in groups_of]
        task = registry.task(self.base.task)
        with self.context.reporter.stage(f"Sensitivities over {len(inputs)} examples", len(batches)) as advance:
            chosen = calibrate.choose_samples(self.base.sources, self.base.calibration, model, self.context)
            statistics = calibrate.statistics(self.exported, chosen, self.context)
            judged = Groups(graph, groups, statistics, calibration, per_channel=True)
            kind = task.likelihood(self.base)
            found = sensitivity.measure(session.model, judged, batches, tuple(task.OUTPUTS), kind, advance)
        worst = {mode: max((item[mode] for item in found.values()), default=0.0) for mode in ("dynamic", "static")}
        self._keep(
            groups=tuple(
                GroupSensitivity(
                    name=name,
                    products=tuple(product.name for product in members),
                    multiplications=sum(product.matrix(graph).size for product in members),
                    sensitivity=found.get(name, worst),
                )
                for name, members in groups.items()
            )
        )

    def _schedules(self) -> list[Schedule]:
        return [self._schedule(candidate) for candidate in self._searched()]

    def _searched(self) -> list[Candidate]:
        """The candidates of which versions are tried."""
        state = self.state
        there = [name for name in self.candidates if name in state.probes and name not in state.failures]
        return [self.candidates[name] for name in there if state.searched(name)]

    def _schedule(self, candidate: Candidate) -> Schedule:
        """A group saves its share of the multiplications, times what the candidate saves over its fallback mode."""
        seconds = self.state.probes[candidate.name]
        if candidate.mode is None:
            return Schedule(candidate.name, seconds)
        fallback = self._fallback_seconds(candidate)
        total = sum(group.multiplications for group in self.state.groups)
        groups = [
            Group(
                group.name,
                group.sensitivity[candidate.mode],
                0.0 if candidate.fallback == "float" else group.sensitivity[candidate.fallback],
                max(0.0, fallback - seconds) * group.multiplications / total,
            )
            for group in self.state.groups
        ]
        return Schedule.sorted(candidate.name, seconds, groups)

    def _fallback_seconds(self, candidate: Candidate) -> float:
        """Seconds of a call with every group in the fallback mode."""
        return self.state.probes.get(candidate.instead or FLOAT, self.state.probes[FLOAT])

    def _search(self) -> None:
        schedules = {schedule.candidate: schedule for schedule in self._schedules()}
        limits = self._absolute_limits()
        while (version := search.next_version(list(schedules.values()), self._trials())) is not None:
            candidate, step = version
            if self._spent():
                self._keep(stopped="the budget was spent before the search came to its end")
                int8 = [schedule for name, schedule in schedules.items() if not self.candidates[name].plain]
                if not int8 or any(not self.candidates[item.candidate].plain for item in self.state.tried):
                    return
                candidate, step = min(int8, key=lambda schedule: schedule.seconds).candidate, 0
            fallback = tuple(group.name for group in schedules[candidate].groups[:step])
            name = candidate if not step else f"{candidate}-{step}-fallback"
            try:
                self._try(name, candidate, step, fallback, limits, schedules[candidate].time(step))
            except CANNOT_BE_MADE as error:
                logger.warning("%s is left out: %s", candidate, told_shortly(error))
                self._keep(failures={**self.state.failures, candidate: told_shortly(error)})
                del schedules[candidate]

    def _try(
        self,
        name: str,
        candidate: str,
        step: int,
        fallback: tuple[str, ...],
        limits: Mapping[str, float],
        seconds: float,
    ) -> None:
        products_of = {group.name: group.products for group in self.state.groups}
        settings = self.candidates[candidate].version([product for group in fallback for product in products_of[group]])
        version = Tried(
            name=name,
            candidate=candidate,
            step=step,
            fallback=fallback,
            settings=settings,
            seconds=seconds,
            losses={},
            excess=0.0,
            examples=0,
            verdict="open",
        )
        self._judge(version, limits)

    def _judge(self, version: Tried, limits: Mapping[str, float]) -> None:
        """Try a version and keep what came of it.

        Raises:
            RunFailed: if its files are larger than is allowed.

        """
        size, largest = self.tuning_set.bytes(version.settings), self.state.most.size
        if largest is not None and size > largest:
            raise RunFailed(f"{size / 1e6:.1f} MB are more than the {largest / 1e6:.1f} MB of --max-size")
        outcome = self.tuning_set.outcome(version.settings, limits, version.name)
        found = {
            "losses": {metric: (loss.value, loss.low, loss.high) for metric, loss in outcome.losses.items()},
            "excess": search.excess(outcome.losses, limits),
            "examples": outcome.examples,
            "bytes": size,
            "verdict": outcome.verdict,
        }
        self._keep(tried=(*self.state.tried, version.model_copy(update=found)))

    def _prune(self, following: Callable[..., Tried | None], within: float | None = None) -> None:
        """Take neurons and heads from the fastest version that passed: the most with which it still passes.

        Args:
            following: the version to try next, from those that were tried and what units cost.
            within: seconds of the whole search after which no further one is tried; None for those of the budget.

        """
        if self.state.finalists or self.loaded.model.opset is not None or "pruning" in self.state.failures:
            return
        limits, given = self._absolute_limits(), external.read(self.exported.path)
        of_products = pruner.shares_of_products(Graph(given), units_of(given, self.loaded.model))
        while (version := following(self.state.tried, of_products)) is not None and not self._spent(within):
            try:
                self._judge(version, limits)
            except CANNOT_BE_MADE as error:
                self._keep(failures={**self.state.failures, "pruning": told_shortly(error)})
                return

    def _absolute_limits(self) -> dict[str, float]:
        original = self.tuning_set.original()
        return {limit.metric: limit.absolute(original[limit.metric]) for limit in self.limits}

    def _trials(self) -> list[Trial]:
        whole = [item for item in self.state.tried if not item.pruned]
        return [Trial(item.candidate, item.step, item.excess, item.verdict) for item in whole]

    def _spent(self, within: float | None = None) -> bool:
        late = self._time() > (self.budget.seconds if within is None else within)
        return late or self.tuning_set.evaluations + trials.SHARE > self.budget.evaluations - FINALS

    def _finals(self) -> list[Result]:
        """Evaluate finalists once on the evaluation split, and time them together with the original."""
        finalists = self.state.finalists or self._choose()
        self._keep(finalists=finalists)
        runs = [run_of(finalist.settings, finalist.name) for finalist in finalists]
        stored = {result.run.key: result for result in self.store.results() if result.done}
        missing = [run for run in runs if run.key not in stored]
        context, evaluations = worker.launch_context(self.store, self.context), 0
        for result in registry.launcher(self.base.backend.name).launch(missing, context):
            self.store.save(result)
            stored[result.run.key] = result
            evaluations += result.evaluations
        self.tuning_set.tokens += evaluations * self.tuning_set.evaluation_tokens
        return [stored[run.key] for run in runs]

    def _choose(self) -> tuple[Finalist, ...]:
        """The fastest versions that passed, or else the one of least excess, and the fastest without int8.

        As many as the budget allows to evaluate, but at least one of each.
        """
        passed = sorted((item for item in self.state.tried if item.verdict == "passes"), key=lambda item: item.seconds)
        nearest = sorted(self.state.tried, key=lambda item: item.excess)[:1]
        chosen = [Finalist(name=item.name, settings=item.settings) for item in passed or nearest]
        plain = [candidate.name for candidate in self._searched() if candidate.plain]
        left = self.budget.evaluations - self.tuning_set.evaluations - FINALS
        chosen = chosen[: max(1, min(MOST_FINALISTS - 1, 1 + int(left)))]
        safe = min(plain, key=lambda name: self.state.probes[name], default=None)
        if safe is not None and safe not in {finalist.name for finalist in chosen}:
            chosen.append(Finalist(name=safe, settings=self.candidates[safe].settings))
        return tuple(chosen)

    def _decide(self, results: Sequence[Result]) -> None:
        """The fastest finalist within every limit on the evaluation split, and whether it is worth deploying."""
        done = [result for result in results if result.done]
        within = [result for result in done if keeps_within(result, self.limits, self.state.most)]
        fastest = min(within, key=optimized_seconds, default=None)
        metric = self.limits[0].metric
        points = {result.run.name: (loss_of(result, metric), optimized_seconds(result)) for result in done}
        name = fastest.run.name if fastest else None
        best = name if fastest and speedups.standing(fastest) == "faster" else None
        self._keep(fastest=name, best=best, front=tuple(pareto_front(points)))

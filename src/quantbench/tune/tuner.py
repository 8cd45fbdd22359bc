"""The search for the version to deploy.

Looks at the model once (activations, sensitivities), times a first version of every family, then tries versions on
examples of the calibration split, fastest promise first. The few that are left are evaluated once on the evaluation
split, which nothing before has seen, and timed against the original; these figures decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from quantbench.analysis import losses, speedups
from quantbench.config.plan import run_of
from quantbench.errors import QuantbenchError
from quantbench.graph.view import Graph
from quantbench.pipeline import optimize, worker
from quantbench.pipeline.artifacts import Workbench
from quantbench.plugins import registry
from quantbench.plugins.quantizing import Candidate
from quantbench.quantize.mixed import products as sites
from quantbench.quantize.mixed import sensitivity
from quantbench.results.store import Store
from quantbench.schema.results import Result
from quantbench.schema.settings import Calibration, Settings
from quantbench.system import instruction_sets
from quantbench.timing import quick
from quantbench.tune import candidates, search, trials
from quantbench.tune.budget import Budget
from quantbench.tune.search import Ladder, Limit, Trial, Unit
from quantbench.tune.state import Finalist, Tried, Tuned, UnitFigures
from quantbench.tune.trials import Bench

FLOAT = "onnx-float"
CALIBRATION_SAMPLES, CALIBRATION_SHARE = 128, 8
SENSITIVITY_SAMPLES, SENSITIVITY_SHARE = 64, 16
"""Most examples to look at, and which part of the number of evaluation examples they are where these are few."""
BACKWARD = 3.0
"""Forwards that a pass forward and back is counted as."""
MOST_FINALISTS = 3
FINALS = 5.0
"""Evaluations kept back for the end: the original, a finalist, the fastest without int8, and the export in the
frameworks of both."""

logger = logging.getLogger("quantbench")


class Tuning:
    """One search; what it has found so far is in ``state``, which is stored after every step."""

    def __init__(
        self,
        settings: Settings,
        limits: Sequence[Limit],
        budget: Budget,
        store: Store,
        workbench: Workbench,
        only: str = "*",
    ) -> None:
        self.limits, self.budget, self.store, self.workbench = limits, budget, store, workbench
        count = len(workbench.examples(settings).inputs)
        self.samples = min(CALIBRATION_SAMPLES, max(8, count // CALIBRATION_SHARE))
        self.sensitivity_samples = min(SENSITIVITY_SAMPLES, max(4, count // SENSITIVITY_SHARE))
        calibration = Calibration(num_calibration_samples=self.samples, seed=settings.calibration.seed)
        self.base = settings.model_copy(
            update={
                "calibration": calibration,
                "framework_args": settings.framework_args.model_copy(update={"opset": candidates.OPSET}),
            }
        )
        self.state = Tuned.read(store.folder, settings, limits, only) or Tuned.start(settings, limits, only)
        sets = instruction_sets.usable(workbench.environment)
        every = candidates.families(self.base, sets)
        self.families = {family.name: family for family in every if fnmatchcase(family.name, only)}
        self.bench = Bench(self.base, workbench, store.cache / "versions", calibration, tokens=self.state.tokens)
        begin = time.monotonic() if budget.since is None else budget.since
        self._began = begin - sum(self.state.seconds.values())

    def run(self) -> Tuned:
        """Search, validate, decide."""
        with self._phase("probes"):
            self._probe()
        with self._phase("sensitivity"):
            self._sensitivities()
        with self._phase("search"):
            self._search()
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
        self.state = self.state.model_copy(update={**changes, "tokens": self.bench.tokens})
        self.state.write(self.store.folder)

    def _probe(self) -> None:
        """Seconds of the first version of every family, and of the float export."""
        if self.state.probes:
            return
        passes = 1 + sum(optimize.reads(family.settings) == "samples" for family in self.families.values())
        self.bench.spend(self.bench.sample(self.samples)[1], passes)  # statistics, and those of the quantizers' own
        specs, failures = {FLOAT: self.workbench.float_model(self.base)}, {}
        longest = 0.0
        for name, family in self.families.items():
            if not self._worth_making(family, specs, longest):
                failures[name] = f"half of the {self.budget.seconds:.0f} s was spent before it was made; see --max-time"
                continue
            begin = self._time()
            try:
                specs[name] = self.bench.spec(family.settings)
            except (QuantbenchError, RuntimeError, ValueError) as error:
                failures[name] = " ".join(str(error).split())[:300]
                logger.warning("%s is left out: %s", name, failures[name])
            longest = max(longest, self._time() - begin)
        args = self.base.time_benchmark_args
        shapes = worker.shapes(self.base, self.workbench)
        threads = args.num_threads or self.workbench.threads
        seconds = self.budget.probe_seconds(self._time(), len(specs), len(shapes))
        found, failed = quick.probe(specs, shapes, args, threads, self.workbench.reporter, seconds)
        self._keep(probes=found, failures={**failures, **failed})

    def _time(self) -> float:
        """Seconds that were spent so far, in this call and earlier ones."""
        return time.monotonic() - self._began

    def _worth_making(self, family: Candidate, made: Mapping[str, Any], longest: float) -> bool:
        """Whether there is time for a family: always for those without int8, which need none, and for the first."""
        first = not any(name in made and not other.plain for name, other in self.families.items())
        return family.plain or first or self.budget.may_make(self._time(), longest)

    def _sensitivities(self) -> None:
        """What every unit would hurt in every mode."""
        if self.state.units or not self.budget.may_look(self._time()):
            return
        graph = Graph.read(Path(self.workbench.float_model(self.base).path))
        units = sites.units(sites.find(graph))
        inputs, costs = self.bench.sample(self.sensitivity_samples)
        self.bench.spend(costs, BACKWARD)
        calibration = self.base.calibration.model_copy(update={"method": "mse"})
        session: Any = registry.runtime("pytorch").load(self.workbench.original(self.base), self.workbench.threads)
        batches = self.workbench.batches(self.base, inputs, costs)
        task = registry.task(self.base.task)
        with self.workbench.reporter.stage(f"Sensitivities over {len(inputs)} examples", len(batches)) as advance:
            statistics = self.workbench.statistics(self.base)
            scores = sensitivity.measure(
                session.model,
                graph,
                units,
                statistics,
                calibration,
                True,
                batches,
                advance,
                tuple(task.OUTPUTS),
                task.likelihood(self.base),
            )
        products = {name: sum(site.matrix(graph).size for site in members) for name, members in units.items()}
        worst = {mode: max((s[mode] for s in scores.values()), default=0.0) for mode in ("dynamic", "static")}
        self._keep(
            units=tuple(
                UnitFigures(
                    name=name,
                    sites=tuple(site.name for site in members),
                    products=products[name],
                    harm=scores.get(name, worst),
                )
                for name, members in units.items()
            )
        )

    def _ladders(self) -> list[Ladder]:
        return [self._ladder(family) for name, family in self.families.items() if name in self.state.probes]

    def _ladder(self, family: Candidate) -> Ladder:
        """What a unit saves is its share of the products, times what the family saves over what it would be instead."""
        seconds = self.state.probes[family.name]
        if family.mode is None:
            return Ladder(family.name, seconds)
        instead = self._gentle_seconds(family)
        total = sum(unit.products for unit in self.state.units)
        units = [
            Unit(
                unit.name,
                unit.harm[family.mode],
                0.0 if family.gentle == "float" else unit.harm[family.gentle],
                max(0.0, instead - seconds) * unit.products / total,
            )
            for unit in self.state.units
        ]
        return Ladder.sorted(family.name, seconds, units)

    def _gentle_seconds(self, family: Candidate) -> float:
        """Seconds of a call with everything treated gently."""
        return self.state.probes.get(family.instead or FLOAT, self.state.probes[FLOAT])

    def _search(self) -> None:
        ladders = {ladder.family: ladder for ladder in self._ladders()}
        original = self.bench.original()
        limits = {limit.metric: limit.absolute(original[limit.metric]) for limit in self.limits}
        while (version := search.next_version(list(ladders.values()), self._trials())) is not None:
            family, rung = version
            if self._spent():
                self._keep(stopped="the budget was spent before the search came to its end")
                int8 = [ladder for name, ladder in ladders.items() if not self.families[name].plain]
                if not int8 or any(not self.families[item.family].plain for item in self.state.tried):
                    return
                family, rung = min(int8, key=lambda ladder: ladder.seconds).family, 0
            gentle = tuple(unit.name for unit in ladders[family].units[:rung])
            name = family if not rung else f"{family}-{rung}-gentle"
            self._try(name, family, rung, gentle, limits, ladders[family].time(rung))

    def _try(
        self, name: str, family: str, rung: int, gentle: tuple[str, ...], limits: Mapping[str, float], seconds: float
    ) -> None:
        sites_of = {unit.name: unit.sites for unit in self.state.units}
        settings = self.families[family].version([site for unit in gentle for site in sites_of[unit]])
        outcome = self.bench.outcome(settings, limits, name)
        tried = Tried(
            name=name,
            family=family,
            rung=rung,
            gentle=gentle,
            settings=settings,
            seconds=seconds,
            losses={metric: (loss.value, loss.low, loss.high) for metric, loss in outcome.losses.items()},
            excess=search.excess(outcome.losses, limits),
            examples=outcome.examples,
            verdict=outcome.verdict,
        )
        self._keep(tried=(*self.state.tried, tried))

    def _trials(self) -> list[Trial]:
        return [Trial(item.family, item.rung, item.excess, item.verdict) for item in self.state.tried]

    def _spent(self) -> bool:
        late = self._time() > self.budget.seconds
        return late or self.bench.evaluations + trials.SHARE > self.budget.evaluations - FINALS

    def _finals(self) -> list[Result]:
        """Evaluate finalists once on the evaluation split, and time them together with the original."""
        finalists = self.state.finalists or self._choose()
        self._keep(finalists=finalists)
        runs = [run_of(finalist.settings, finalist.name) for finalist in finalists]
        stored = {result.run.key: result for result in self.store.results() if result.done}
        missing = [run for run in runs if run.key not in stored]
        made, context = self.workbench.made, worker.launch_context(self.store, self.workbench)
        for result in registry.launcher(self.base.backend.name).launch(missing, context):
            self.store.save(result)
            stored[result.run.key] = result
        self.bench.spend(self.workbench.examples(self.base).costs, self.workbench.made - made)
        return [stored[run.key] for run in runs]

    def _choose(self) -> tuple[Finalist, ...]:
        """The fastest versions that passed, or else the one that came nearest, and the fastest without int8.

        As many as the budget allows to evaluate, but at least one of each.
        """
        passed = sorted((item for item in self.state.tried if item.verdict == "passes"), key=lambda item: item.seconds)
        nearest = sorted(self.state.tried, key=lambda item: item.excess)[:1]
        chosen = [Finalist(name=item.name, settings=item.settings) for item in passed or nearest]
        plain = [name for name, family in self.families.items() if family.plain and name in self.state.probes]
        left = self.budget.evaluations - self.bench.evaluations - FINALS
        chosen = chosen[: max(1, min(MOST_FINALISTS - 1, 1 + int(left)))]
        safe = min(plain, key=lambda name: self.state.probes[name], default=None)
        if safe is not None and safe not in {finalist.name for finalist in chosen}:
            chosen.append(Finalist(name=safe, settings=self.families[safe].settings))
        return tuple(chosen)

    def _decide(self, results: Sequence[Result]) -> None:
        """The fastest finalist within every limit on the evaluation split, and whether it is worth deploying."""
        done = [result for result in results if result.done]
        within = [result for result in done if self._within(result)]
        fastest = min(within, key=optimized_seconds, default=None)
        points = {result.run.name: (self._loss(result), optimized_seconds(result)) for result in done}
        name = fastest.run.name if fastest else None
        best = name if fastest and speedups.standing(fastest) == "faster" else None
        self._keep(fastest=name, best=best, front=tuple(search.front(points)))

    def _loss(self, result: Result) -> float:
        """The loss of the first limit's metric, original minus optimized."""
        scores, metric = result.scores, self.limits[0].metric
        return scores["original"].metrics[metric] - scores["optimized"].metrics[metric]

    def _within(self, result: Result) -> bool:
        differences = losses.differences(result)
        return all(
            -differences[limit.metric].value <= limit.absolute(result.scores["original"].metrics[limit.metric])
            for limit in self.limits
        )


def optimized_seconds(result: Result) -> float:
    """Geometric mean over shapes of the optimized arm's call."""
    return quick.mean_seconds([latency.arms["optimized"] for latency in result.latency])

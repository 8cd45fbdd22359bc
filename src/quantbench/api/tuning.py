"""The whole job behind ``tune``: from a configuration and limits on the loss to a report and the folder to deploy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from quantbench.api import benchmark
from quantbench.errors import BadInput, Mistake
from quantbench.pipeline.artifacts import Workbench
from quantbench.pipeline.preflight import check
from quantbench.plugins import registry
from quantbench.reports import _tune
from quantbench.results.store import Store
from quantbench.schema.reporter import Reporter
from quantbench.schema.settings import Config, Settings
from quantbench.sources import labels as names_of_labels
from quantbench.system import cache
from quantbench.system.instruction_sets import usable
from quantbench.system.writing import write_atomically
from quantbench.tune.budget import LEAST_SECONDS, Budget
from quantbench.tune.candidates import candidates_for
from quantbench.tune.deploy import deploy
from quantbench.tune.search import Limit
from quantbench.tune.state import Tuned
from quantbench.tune.tuner import Tuning


def tune(
    config: Config, folder: Path, limits: Sequence[Limit], budget: Budget, reporter: Reporter, only: str = "*"
) -> Tuned:
    """Search, validate, and write ``tune.md``, ``front.svg``, ``summary.json`` and ``models/best`` into a folder.

    Args:
        config: its ``benchmarked`` part is left out.
        folder: of the search.
        limits: see :func:`parse_limit`; with none, the task's own limit for the model's labels.
        budget: of time and evaluations.
        reporter: of the progress.
        only: a glob over the names of the candidates to choose from.

    Raises:
        BadInput: if something is wrong with the input; nothing is written then.

    """
    config = single(config)
    if not budget.seconds >= LEAST_SECONDS:
        message = f"is too little to try one version; the least that makes sense is {LEAST_SECONDS:.0f}"
        raise BadInput([Mistake(f"--max-time {budget.seconds:g}", message)])
    if not budget.evaluations > 0:
        message = "must be more than 0: a search scores examples to tell versions apart; leave it out for the usual 7"
        raise BadInput([Mistake(f"--max-evaluations {budget.evaluations:g}", message)])
    store = Store(folder)
    store.stored_for(config)
    found = benchmark.environment_for(config)
    known = [candidate.name for candidate in candidates_for(config.base, usable(found))]
    if not any(fnmatchcase(name, only) for name in known):
        raise BadInput([Mistake(f"--only {only}", f"matches no candidate; there is: {', '.join(known)}")])
    workbench = Workbench(cache.folder(), found, reporter, places=config.places)
    with reporter.stage("Loading model and data", 1) as advance:
        check(config, workbench, ())
        limits = _scored(limits, config.base, workbench)
        Tuned.read(folder, config.base, limits, only)
        advance(1)
    with store.claimed(config):
        with cache.alone(workbench.cache, reporter):
            search_of = Tuning(config.base, limits, budget, store, workbench, only)
            tuned = search_of.run()
        _write(config, store, tuned, search_of)
    return tuned


def single(config: Config) -> Config:
    """The configuration without what is benchmarked: a search chooses for itself.

    Raises:
        BadInput: if there is nothing to tune on.

    """
    if not config.base.dataset.calibration_split:
        message = (
            "tune needs dataset.calibration_split: the examples that it tunes on, apart from those it validates on"
        )
        raise BadInput([Mistake(config.where("dataset"), message)])
    for key, there, what in (
        ("batch_sizes", config.base.is_timed, "timing: it looks for the fastest version; name a batch size"),
        (
            "max_eval_samples",
            config.base.is_evaluated,
            "evaluation: it keeps a limit on the loss; set null or a number",
        ),
    ):
        if not there:
            raise BadInput([Mistake(config.where(key), f"tune needs {what}")])
    backend = config.base.backend.name
    if registry.launcher(backend).REMOTE:
        message = f"tune searches on the machine that it is called on, not on {backend}; use backend: local"
        raise BadInput([Mistake(config.where("backend"), message)])
    return config.model_copy(update={"dimensions": ()})


def parse_limit(text: str, config: Config) -> Limit:
    """A limit as given to ``--max-drop``: ``f1=0.005``, or ``f1=0.5%`` of the original's value.

    Raises:
        BadInput: if it is not of that form, or the metric is not among those of the configuration.

    """
    task = registry.task(config.base.task)
    asked = config.base.metrics or task.known_metrics(config.base)
    known = list(dict.fromkeys(value for name in asked for value in task.METRICS[name]))
    metric, _, number = text.partition("=")
    where = f"--max-drop {text}"
    try:
        drop = float(number.removesuffix("%"))
    except ValueError:
        drop = -1.0
    if not 0 <= drop < float("inf"):
        raise BadInput([Mistake(where, f"must be METRIC=NUMBER, such as {known[-1]}=0.005 or {known[-1]}=0.5%")])
    if metric not in known:
        raise BadInput([Mistake(where, registry.unknown_name(metric, known, "metric"))])
    relative = number.endswith("%")
    return Limit(metric=metric, drop=drop / 100 if relative else drop, relative=relative)


def _scored(limits: Sequence[Limit], settings: Settings, workbench: Workbench) -> Sequence[Limit]:
    """The limits, or the task's own for the model's labels where there are none.

    Raises:
        BadInput: if a limit is of a metric that is not scored.

    """
    task = registry.task(settings.task)
    labels = names_of_labels.of_model(workbench.model(settings).config)
    asked = settings.metrics or task.default_metrics(settings, labels)
    scored = [value for name in asked for value in task.METRICS[name]]
    if not limits:
        metric, drop = task.default_limit(settings, labels)
        limits = [Limit(metric=metric if metric in scored else scored[0], drop=drop)]
    for limit in limits:
        if limit.metric not in scored:
            message = f"{limit.metric} is not among the metrics that are scored: {', '.join(scored)}; see metrics"
            raise BadInput([Mistake(f"--max-drop {limit.metric}", message)])
    return limits


def answer(folder: Path) -> str:
    """What a report says first, without Markdown."""
    text = (folder / _tune.FILE).read_text(encoding="utf-8")
    return "\n".join(text.split("\n## ")[0].splitlines()[2:]).replace("**", "").strip()


def _write(config: Config, store: Store, tuned: Tuned, search_of: Tuning) -> None:
    """Reports and the folder to deploy."""
    names = {finalist.name for finalist in tuned.finalists}
    results = [result for result in store.results() if result.run.name in names]
    best = next((result for result in results if result.run.name == tuned.best), None)
    if best is not None:
        args = config.base.time_benchmark_args
        deploy(best, store.folder / "models", args.num_threads or search_of.workbench.threads, search_of.workbench)
    evaluations = search_of.tuning_set.evaluations
    done = [result for result in results if result.done]
    write_atomically(store.folder / _tune.FILE, _tune.render(config, tuned, results, evaluations).encode())
    picture = _tune.picture(tuned, done)
    if picture is not None:
        write_atomically(store.folder / _tune.PICTURE, picture.encode())
    summary = registry.report("summary")
    document = {**json.loads(summary.render(config, results, ())), **_tune.data(tuned, evaluations)}
    write_atomically(store.folder / summary.FILE, (json.dumps(document, indent=2) + "\n").encode())

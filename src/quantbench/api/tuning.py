"""The whole job behind ``tune``: from a configuration and limits on the loss to a report and the folder to deploy."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from quantbench.api import frames
from quantbench.api._reporters import reporter
from quantbench.api.limits import bytes_of, limit_texts, parse_limit, scored_limits
from quantbench.api.running import checked, environment_for, opened
from quantbench.errors import BadInput, Mistake
from quantbench.plugins import registry
from quantbench.results.store import Store
from quantbench.schema.results import Result
from quantbench.schema.settings import Config
from quantbench.system import cache
from quantbench.system.instruction_sets import usable
from quantbench.system.writing import write_atomically
from quantbench.tune import budget as allowed
from quantbench.tune.budget import LEAST_SECONDS, Budget
from quantbench.tune.candidates import candidates_for
from quantbench.tune.search import Footprint, Limit
from quantbench.tune.state import Screening, Tuned

if TYPE_CHECKING:
    import pandas

    from quantbench.pipeline.context import Context
    from quantbench.schema.reporter import Reporter

SCREENED = ("candidate", "standing", "why", "speed", "speed_low", "speed_high", "loss", "loss_low", "loss_high")
TRIED = ("version", "predicted_ms", "loss", "loss_low", "loss_high", "examples", "verdict")


@dataclass(frozen=True)
class Version:
    """A version of the model that was evaluated and timed.

    Attributes:
        name: the candidate, and how many of its groups of products are in the fallback mode.
        path: the folder to deploy, or that of the model file for a version that is not the best.
        loss: of the first limit's metric on the evaluation split, original minus this.
        milliseconds: mean of a call at the first shape.
        result: everything that was measured.

    """

    name: str
    path: Path
    loss: float
    milliseconds: float
    result: Result


class Search:
    """What a search found; a notebook shows its report.

    Attributes:
        config: the configuration, without what is benchmarked.
        folder: the output folder.
        state: all that was tried, the limits and what it cost, as ``tuning.json`` has it.

    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        found: Tuned,
        results: Sequence[Result],
        temporary: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.config, self.folder, self.state = config, folder, found
        self.results = tuple(results)
        self._temporary = temporary
        for result in self.results:
            result._folder = folder

    @property
    def best(self) -> Version | None:
        """The version to deploy; None where none within the limits is known to be faster than the original.

        None, too, where only the screening was asked for.
        """
        return next((item for item in self._versions() if item.name == self.state.best), None)

    @property
    def front(self) -> tuple[Version, ...]:
        """The versions that no other beats both in loss and in time (the Pareto front), fastest first."""
        found = (item for item in self._versions() if item.name in self.state.front)
        return tuple(sorted(found, key=lambda item: item.milliseconds))

    @property
    def screening(self) -> Screening | None:
        """Which candidates are in question on this machine; None in a folder of a version that did not ask."""
        return self.state.screening

    @property
    def report(self) -> str:
        """The text of ``tune.md``."""
        from quantbench.reports import _tune

        return (self.folder / _tune.FILE).read_text(encoding="utf-8")

    @property
    def answer(self) -> str:
        """What the report says first, without Markdown."""
        return "\n".join(self.report.split("\n## ")[0].splitlines()[2:]).replace("**", "").strip()

    def to_dataframe(self, rows: Literal["finalists", "tried", "screening"] = "finalists") -> pandas.DataFrame:
        """The figures of the report.

        Args:
            rows: ``finalists``, a row per version × shape that was evaluated and timed, with the columns of
                :meth:`Benchmark.to_dataframe`, ``best`` and ``on_front``. ``tried``, a row per version that was looked
                at on tuning examples, with its loss of the first limit's metric. ``screening``, a row per candidate:
                whether it is in question, how many times as fast it is as the fastest without int8, and the loss of its
                first version on the first of these examples.

        Raises:
            BadInput: if there are no such rows, or pandas is not installed.

        """
        if rows == "finalists":
            return frames.frame([self._marked(row) for row in frames.runs(self.results)], ("run",))
        if rows == "tried":
            return frames.frame(self._tried(), TRIED)
        if rows == "screening":
            return frames.frame(self._screened(), SCREENED)
        raise BadInput([Mistake(f"to_dataframe({rows!r})", "there is 'finalists', 'tried' and 'screening'")])

    def _marked(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {**row, "best": row["run"] == self.state.best, "on_front": row["run"] in self.state.front}

    def _tried(self) -> list[dict[str, Any]]:
        metric = self.state.limits[0].metric
        return [
            dict(zip(TRIED, (t.name, 1000 * t.seconds, *t.losses[metric], t.examples, t.verdict), strict=True))
            for t in self.state.tried
        ]

    def _screened(self) -> list[dict[str, Any]]:
        metric, unknown = self.state.limits[0].metric, (None, None, None)
        found = self.screening.families if self.screening else ()
        rows = [(f.candidate, f.standing, f.why, *(f.speed or unknown), *f.losses.get(metric, unknown)) for f in found]
        return [dict(zip(SCREENED, row, strict=True)) for row in rows]

    def _versions(self) -> list[Version]:
        from quantbench.reports import _tune

        done = {result.run.name: result for result in self.results if result.done}
        return [
            Version(name, self._path(done[name]), loss, milliseconds, done[name])
            for name, loss, milliseconds in _tune.points(self.state, list(done.values()))
            if name in done
        ]

    def _path(self, result: Result) -> Path:
        from quantbench.tune.deploy import BEST

        if result.run.name == self.state.best:
            return self.folder / "models" / BEST
        assert result.artifact is not None, "a finished run has an artifact"
        return (self.folder / result.artifact.path).parent

    def _repr_markdown_(self) -> str:
        from quantbench.reports import _tune

        lines = self.report.splitlines()
        return "\n".join(line for line in lines if not line.endswith(f"({_tune.PICTURE})"))  # a path of the folder

    def __str__(self) -> str:
        return self.answer

    def __repr__(self) -> str:
        return f"<Search: best {self.state.best or 'is the original'}, {len(self.state.tried)} versions tried>"


def tune(
    config: Config,
    *,
    out: str | Path | None = None,
    max_drop: Mapping[str, float | str] | Sequence[str] | None = None,
    max_size: int | str | None = None,
    max_memory: int | str | None = None,
    only: str = "*",
    thorough: bool = False,
    screen_only: bool = False,
    max_time: float | None = None,
    max_evaluations: float | None = None,
    train: float = 0.0,
    screened: Callable[[str], None] | None = None,
    progress: bool = False,
) -> Search:
    """Find the fastest version of a model on this machine that loses no more than allowed.

    Writes ``tune.md``, ``front.svg``, ``summary.json`` and ``models/best``; a second call goes on where the first was
    interrupted.

    Args:
        config: its ``benchmarked`` part is left out.
        out: the output folder; None for a temporary one that lives as long as the returned object.
        max_drop: the most that each metric may lose: ``{"f1": 0.005}``, or ``{"f1": "0.5%"}`` of the original's
            value; or as texts ``f1=0.005``. None for the task's own limit.
        max_size: the most bytes of the model's files, or a text such as ``24MB``; tables shrink where that needs it.
        max_memory: the most bytes of the process that is timed with a version, at its peak, libraries included.
        only: a glob over the names of the candidates to choose from, such as ``onnxruntime-*``.
        thorough: whether candidates that are out by the screening are searched, too.
        screen_only: whether to end with the screening; a later call goes on from there.
        max_time: most seconds, without the final timing; None for 600, or 1800 of a thorough search.
        max_evaluations: most forwards, in evaluations of the whole evaluation set; None for 7, thorough for 20.
        train: minutes for which each version is trained that lacks too much otherwise; not counted in ``max_time``.
        screened: is given the screening's answer as Markdown, as soon as it stands.
        progress: whether bars are shown on standard error.

    Raises:
        BadInput: if something is wrong with the input; nothing is written then.

    """
    if thorough and screen_only:
        raise BadInput([Mistake("--screen-only --thorough", "the screening is the same for both; leave one out")])
    budget = _budget(thorough, max_time, max_evaluations, train, time.monotonic())
    most = Footprint(size=bytes_of("--max-size", max_size), memory=bytes_of("--max-memory", max_memory))
    asked = _Asked(limit_texts(max_drop), most, only, thorough, screen_only, screened)
    return _searched(single(config), out, budget, asked, reporter(progress))


@dataclass(frozen=True)
class _Asked:
    """What a version must keep within, as texts, and how far to search."""

    limits: Sequence[str]
    most: Footprint
    only: str
    thorough: bool
    screen_only: bool
    screened: Callable[[str], None] | None


def _searched(config: Config, out: str | Path | None, budget: Budget, asked: _Asked, told: Reporter) -> Search:
    folder, temporary = opened(out)
    store, only, most = Store(folder), asked.only, asked.most
    limits, context = _ready(config, store, budget, asked, told)
    from quantbench.tune.tuner import Tuning  # after the cap, which libraries read when they are loaded

    with store.claimed(config):
        with cache.alone(context.cache.folder, told):
            search_of = Tuning.prepare(config.base, limits, budget, store, context, only, asked.thorough, most)
            tuned = search_of.run(_telling(asked.screened), asked.screen_only)
        results = _write(config, store, tuned, search_of.tuning_set.evaluations, context)
    return Search(config, folder, tuned, results, temporary)


def _ready(
    config: Config, store: Store, budget: Budget, asked: _Asked, told: Reporter
) -> tuple[Sequence[Limit], Context]:
    """The limits as numbers and what works on this machine, after everything that was given has been checked."""
    limits = [parse_limit(text, config) for text in asked.limits]
    _check_budget(budget)
    store.stored_for(config)
    _check_candidates(config, asked.only)
    context = checked(config, None, (), told)
    found = scored_limits(limits, config.base, context)
    Tuned.read(store.folder, config.base, found, asked.only, asked.most)
    return found, context


def _budget(thorough: bool, seconds: float | None, evaluations: float | None, training: float, since: float) -> Budget:
    """What was given, or what is usual for such a search."""
    usual = allowed.USUAL_EVALUATIONS, allowed.USUAL_SECONDS
    most = (allowed.THOROUGH_EVALUATIONS, allowed.THOROUGH_SECONDS) if thorough else usual
    return Budget(
        evaluations=most[0] if evaluations is None else evaluations,
        seconds=most[1] if seconds is None else seconds,
        since=since,
        training=training,
    )


def _telling(screened: Callable[[str], None] | None) -> Callable[[Tuned], None]:
    """What hands on the answer of a screening that stands."""
    from quantbench.reports import _screening

    return lambda state: screened(_screening.text(state)) if screened else None


def _check_candidates(config: Config, only: str) -> None:
    known = [candidate.name for candidate in candidates_for(config.base, usable(environment_for(config)))]
    if not any(fnmatchcase(name, only) for name in known):
        raise BadInput([Mistake(f"--only {only}", f"matches no candidate; there is: {', '.join(known)}")])


def _check_budget(budget: Budget) -> None:
    if not budget.seconds >= LEAST_SECONDS:
        message = f"is too little to try one version; the least that makes sense is {LEAST_SECONDS:.0f}"
        raise BadInput([Mistake(f"--max-time {budget.seconds:g}", message)])
    if not 0 <= budget.training < math.inf:
        raise BadInput([Mistake(f"--train {budget.training:g}", "must be 0 or more minutes")])
    if not budget.evaluations > 0:
        message = "must be more than 0: a search scores examples to tell versions apart; leave it out for the usual 7"
        raise BadInput([Mistake(f"--max-evaluations {budget.evaluations:g}", message)])


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


def _write(config: Config, store: Store, tuned: Tuned, evaluations: float, context: Context) -> list[Result]:
    """Reports and the folder to deploy; the results of the finalists."""
    from quantbench.reports import _tune
    from quantbench.tune.deploy import deploy

    names = {finalist.name for finalist in tuned.finalists}
    results = [result for result in store.results() if result.run.name in names]
    best = next((result for result in results if result.run.name == tuned.best), None)
    if best is not None:
        args = config.base.time_benchmark_args
        deploy(best, store.folder / "models", args.num_threads or context.threads, context)
    done = [result for result in results if result.done]
    write_atomically(store.folder / _tune.FILE, _tune.render(config, tuned, results, evaluations).encode())
    picture = _tune.picture(tuned, done)
    if picture is not None:
        write_atomically(store.folder / _tune.PICTURE, picture.encode())
    summary = registry.report("summary")
    document = {**json.loads(summary.render(config, results, ())), **_tune.data(tuned, evaluations)}
    write_atomically(store.folder / summary.FILE, (json.dumps(document, indent=2) + "\n").encode())
    return results

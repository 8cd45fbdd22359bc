"""The screening: every candidate's fully int8 version, timed against the fastest without int8, as time allows.

What is cheapest to make comes first, timing ends for each version as soon as its interval decides, and losses on the
first examples fill what is left of the time. What does not fit is told by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from quantbench.errors import QuantbenchError
from quantbench.pipeline import measure, optimize
from quantbench.pipeline.export import float_arm
from quantbench.plugins.quantizing import Candidate
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings
from quantbench.system.environment import usable_cpus
from quantbench.timing import quick
from quantbench.timing.session import Shape
from quantbench.tune import screening
from quantbench.tune.budget import Pace, extent, may_make
from quantbench.tune.search import Limit
from quantbench.tune.state import Family, Screening, Tuned
from quantbench.tune.trials import TuningSet

FLOAT = "onnx-float"
TOO_LONG = "its calls are too long for enough rounds"
CANNOT_BE_MADE = (QuantbenchError, RuntimeError, ValueError)
"""What libraries raise for a model that they cannot take; the candidate is left out then, and the others go on."""

logger = logging.getLogger("quantbench")


@dataclass
class Screener:
    """One answer in the making.

    Attributes:
        tuning_set: where versions are made and tried.
        candidates: by name.
        limits: on the loss.
        clock: gives the seconds that were spent so far.
        keep: is given fields of the state, after every step.
        families: what is known so far.
        failures: candidates that could not be made or timed, and why.

    """

    tuning_set: TuningSet
    candidates: Mapping[str, Candidate]
    limits: Sequence[Limit]
    clock: Callable[[], float]
    keep: Callable[..., None]
    families: dict[str, Family] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    _specs: dict[str, ArmSpec] = field(default_factory=dict)
    _made: dict[str, float] = field(default_factory=dict)
    _longest: float = 0.0

    def __post_init__(self) -> None:
        self._base = self.tuning_set.settings
        self._threads = self._base.time_benchmark_args.num_threads or self.tuning_set.context.threads
        self._shapes = measure.shapes(self._base, self.tuning_set.loaded)

    def first(self, until: float) -> None:
        """Look at all candidates, until so many seconds are spent; what has begun then is finished.

        One version in int8 is made and timed in any case.

        Raises:
            RunFailed: if nothing without int8 can be timed.

        """
        begin = self.clock()
        self._spend()
        reads = {name: optimize.reads(candidate.settings) for name, candidate in self.candidates.items()}
        wanted = screening.in_order(list(self.candidates.values()), reads)
        self._specs = {FLOAT: float_arm(self.tuning_set.exported, self._base)}
        pace = self._pace(self._shapes)
        for candidate in wanted:
            if candidate.plain:
                self._make(candidate, candidate.settings)
        plain = self._within_limits() or [FLOAT]
        self._make_int8([candidate for candidate in wanted if not candidate.plain], until, pace, least=1)
        probed, at = self._probe(plain, self._shapes, pace, until)

        def told() -> Screening:
            return self._answer(probed.against, tuple(map(_name, at)), self.clock() - begin)

        self.keep(probes=probed.seconds, failures=self.failures, screening=told())
        for name in self._by_speed():
            self._try(name, until)
            self.keep(failures=self.failures, screening=told())

    def further(self, known: Tuned, until: float) -> None:
        """Time those that the first answer had no time for, against what it held the others against."""
        before = known.screening
        assert before is not None, "the first answer comes first"
        self.families = {family.candidate: family for family in before.families}
        self.failures = dict(known.failures)
        left = [family.candidate for family in before.families if family.standing == "not looked at"]
        pending = [self.candidates[name] for name in left if name in self.candidates and name not in self.failures]
        if not pending:
            return
        against = before.against
        self._specs = {against: self._spec_of(against)}
        shapes = [shape for shape in self._shapes if _name(shape) in before.shapes]
        pace = self._pace(shapes)
        self._make_int8(pending, until, pace, least=0)
        probes = known.probes
        if len(self._specs) > 1:
            probed, _ = self._probe([against], shapes, pace, until)
            scale = probes[against] / probed.seconds[against]
            probes = {**probes, **{name: scale * value for name, value in probed.seconds.items() if name != against}}
        screened = self._answer(against, before.shapes, before.seconds)
        self.keep(probes=probes, failures=self.failures, screening=screened)

    def _spend(self) -> None:
        """Count the passes over the calibration samples: statistics, and the quantizers' own."""
        passes = 1 + sum(optimize.reads(candidate.settings) == "samples" for candidate in self.candidates.values())
        samples = self._base.calibration.num_calibration_samples
        self.tuning_set.spend(self.tuning_set.sample(samples)[1], passes)

    def _spec_of(self, name: str) -> ArmSpec:
        if name == FLOAT:
            return float_arm(self.tuning_set.exported, self._base)
        return self.tuning_set.spec(self.candidates[name].settings)

    def _pace(self, shapes: Sequence[Shape]) -> Pace:
        found = quick.pace(next(iter(self._specs.values())), shapes, self._threads)
        start = found.ready / len(usable_cpus()) + found.load  # libraries are imported side by side
        return Pace(start, found.passes, quick.SLOT_SECONDS)

    def _make(self, candidate: Candidate, settings: Settings) -> None:
        begin = self.clock()
        try:
            self._specs[candidate.name] = self.tuning_set.spec(settings)
        except CANNOT_BE_MADE as error:
            self._fail(candidate.name, told_shortly(error))
        self._made[candidate.name] = self.clock() - begin

    def _fail(self, name: str, why: str) -> None:
        self.failures[name] = why
        self._specs.pop(name, None)
        self.families[name] = Family(candidate=name, standing="not looked at", why=f"failed: {why}")
        logger.warning("%s is left out: %s", name, why)

    def _make_int8(self, wanted: Sequence[Candidate], until: float, pace: Pace, least: int) -> None:
        """Make first versions as long as there is time to time them, too; the first few in any case."""
        for number, candidate in enumerate(wanted):
            longest = max(self._made.get(other.name, 0.0) for other in wanted)
            if number >= least and not may_make(until - self.clock(), longest, pace, len(self._specs)):
                self._postpone(candidate.name, "make")
                continue
            self._make(candidate, timed_settings(candidate))

    def _postpone(self, name: str, what: str) -> None:
        self._specs.pop(name, None)
        self.families[name] = Family(candidate=name, standing="not looked at", why=f"there was no time to {what} it")

    def _within_limits(self) -> list[str]:
        """Those without int8 that keep within the limits on the first examples; float32 is what the limits are of."""
        found = []
        for name in [name for name in self._specs if name != FLOAT]:
            settings = self.candidates[name].settings
            if settings.framework_args.precision == "float32" or self._tried(name, mends=False):
                found.append(name)
        return found

    def _probe(
        self, plain: Sequence[str], shapes: Sequence[Shape], pace: Pace, until: float
    ) -> tuple[quick.Probed, list[Shape]]:
        """Time what was made, and tell by that which candidates are in question; and at which shapes that was."""
        held = len([name for name in self._specs if name in (FLOAT, *plain)])
        there = extent(until - self.clock(), pace, len(self._specs), min(held + 1, len(self._specs)))
        for name in list(self._specs)[there.arms :]:
            self._postpone(name, "time")
        at = [shapes[place] for place in there.shapes]
        probed = quick.probe(
            self._specs,
            plain,
            at,
            self._base.time_benchmark_args,
            self._threads,
            self.tuning_set.context.reporter,
            there.rounds,
            screening.WORTH,
            until - self.clock(),
        )
        for name, why in probed.failures.items():
            self._fail(name, why)
        for name in probed.seconds:
            if name in self.candidates:
                self._judge(name, probed)
        return probed, at

    def _judge(self, name: str, probed: quick.Probed) -> None:
        """What the time of a version says of its candidate; those without int8 are what the others are held against."""
        before = self.families.get(name)
        speed = probed.ratios.get(name)
        told: tuple[screening.Standing, str]
        if before is not None and before.standing == "out":
            told = (before.standing, before.why)
        elif self.candidates[name].plain:
            told = ("without int8", "" if speed or name == probed.against else TOO_LONG)
        else:
            told = screening.by_speed(speed, probed.against) if speed else ("not looked at", TOO_LONG)
        self.families[name] = Family(
            candidate=name,
            standing=told[0],
            why=told[1],
            speed=(speed.value, speed.low, speed.high) if speed else None,
            losses=before.losses if before else {},
            examples=before.examples if before else 0,
        )

    def _by_speed(self) -> list[str]:
        """The candidates in question, the fastest first."""
        speeds = {f.candidate: f.speed[0] for f in self.families.values() if f.speed and f.standing == "in question"}
        return sorted(speeds, key=lambda name: -speeds[name])

    def _try(self, name: str, until: float) -> None:
        """Score a version on the first examples, if there is time for it."""
        candidate = self.candidates[name]
        seconds = self._longest
        if timed_settings(candidate) != candidate.settings:  # it is made anew, from all samples
            samples = candidate.settings.calibration.num_calibration_samples
            seconds += self._made[name] * samples / screening.ROUGH_SAMPLES
        if self.clock() + seconds <= until:
            self._tried(name, candidate.mode is not None)

    def _tried(self, name: str, mends: bool) -> bool:
        """What the loss on the first examples says of a candidate; whether it stays in question."""
        begin = self.clock()
        original = self.tuning_set.original()
        limits = {limit.metric: limit.absolute(original[limit.metric]) for limit in self.limits}
        try:
            outcome = self.tuning_set.outcome(self.candidates[name].settings, limits, name, 1)
        except CANNOT_BE_MADE as error:
            self._fail(name, told_shortly(error))
            return False
        standing, why = screening.by_loss(outcome.verdict, mends)
        before = self.families.get(name) or Family(candidate=name, standing=standing)
        losses = {metric: (loss.value, loss.low, loss.high) for metric, loss in outcome.losses.items()}
        changes = {"standing": standing, "why": why, "losses": losses, "examples": outcome.examples}
        self.families[name] = before.model_copy(update=changes)
        self._longest = max(self._longest, self.clock() - begin)
        return standing != "out"

    def _answer(self, against: str, shapes: tuple[str, ...], seconds: float) -> Screening:
        """All that is known, in the order of the candidates."""
        rows = tuple(self.families[name] for name in self.candidates if name in self.families)
        return Screening(against=against, shapes=shapes, families=rows, seconds=seconds)


def timed_settings(candidate: Candidate) -> Settings:
    """Settings of the version that is timed: of few samples, where a quantizer looks at each of them by itself."""
    settings = candidate.settings
    if optimize.reads(settings) != "samples":
        return settings
    samples = min(screening.ROUGH_SAMPLES, settings.calibration.num_calibration_samples)
    calibration = settings.calibration.model_copy(update={"num_calibration_samples": samples})
    return settings.model_copy(update={"calibration": calibration})


def told_shortly(error: Exception) -> str:
    """The beginning of an error's message, in one line."""
    return " ".join(str(error).split())[:300]


def _name(shape: Shape) -> str:
    return str(shape.batch_size) if shape.input_length is None else f"{shape.batch_size} × {shape.input_length}"

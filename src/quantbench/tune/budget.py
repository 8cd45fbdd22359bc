"""What a search may spend, and how it is shared, so that some of it is left to try versions: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_SECONDS = 30.0
"""The least to be given: about what loading, an export, an int8 version and its trial take for the smallest models."""
USUAL_SECONDS, THOROUGH_SECONDS = 600.0, 1800.0
USUAL_EVALUATIONS, THOROUGH_EVALUATIONS = 7.0, 20.0
SCREENING = 60.0
"""Seconds from the float export to the screening's answer."""
SENSITIVITIES = 0.75
"""Share of the time after which no further version is made and probed, and no sensitivities are measured."""
FEWEST_ROUNDS, MOST_ROUNDS = 24, 30
"""Of a probe, which is looked at after half of them: enough for an interval, also where some slots are longer."""
WARM_PASSES = 5
"""Untimed passes over the batches of a shape before an arm's first slot."""


@dataclass(frozen=True)
class Pace:
    """How long probes take here.

    Attributes:
        start: seconds by which a further arm delays the first slot: until it is ready and loaded.
        passes: seconds of one pass over the batches of each shape, of the float export.
        slot: seconds of a slot at least.

    """

    start: float
    passes: tuple[float, ...]
    slot: float

    def cheapest(self, count: int) -> tuple[int, ...]:
        """The places of so many shapes of the shortest calls, in their order."""
        return tuple(sorted(sorted(range(len(self.passes)), key=lambda place: self.passes[place])[:count]))

    def cost(self, arms: int, shapes: int, rounds: int = FEWEST_ROUNDS) -> float:
        """Seconds of a probe of so many arms at the cheapest shapes, if none is let go early.

        A slot has an untimed call before those that fill it.
        """
        passes = [self.passes[place] for place in self.cheapest(shapes)]
        return arms * (self.start + sum(WARM_PASSES * one + rounds * (one + max(one, self.slot)) for one in passes))


@dataclass(frozen=True)
class Extent:
    """How much of a probe there is time for: the first so many arms, the places of shapes, and rounds."""

    arms: int
    shapes: tuple[int, ...]
    rounds: int


@dataclass(frozen=True)
class Budget:
    """What a search may spend: evaluations of the whole evaluation set, and seconds.

    ``since`` is when the time began, by ``time.monotonic``, None for when the search begins. The final evaluation and
    timing are not counted. ``screening`` seconds are those of the first answer, from the float export on.
    ``training`` is for how many minutes a version is trained, 0 for none; these do not count among the seconds.
    """

    evaluations: float = USUAL_EVALUATIONS
    seconds: float = USUAL_SECONDS
    since: float | None = None
    screening: float = SCREENING
    training: float = 0.0

    @property
    def probing_until(self) -> float:
        """Seconds spent after which no further version is made to be probed."""
        return SENSITIVITIES * self.seconds

    def screening_until(self, spent: float) -> float:
        """Seconds spent at which the screening is to end, of one that begins now."""
        return min(spent + self.screening, max(spent, self.probing_until))

    def may_measure_sensitivities(self, spent: float) -> bool:
        """Whether there is time to measure sensitivities; without them only versions at step 0 are tried."""
        return spent <= SENSITIVITIES * self.seconds


def may_make(left: float, longest: float, pace: Pace, arms: int) -> bool:
    """Whether a further version can be made and still be probed together with so many arms that there are.

    Args:
        left: seconds.
        longest: that a version took so far.
        pace: of probes.
        arms: made so far.

    """
    return longest + pace.cost(arms + 1, 1) <= left


def extent(left: float, pace: Pace, arms: int, least: int) -> Extent:
    """The largest probe that there is time for: rather all arms than all shapes, rather all shapes than many rounds.

    Args:
        left: seconds; where they are too few for ``least`` arms at one shape, these are probed all the same.
        pace: of probes.
        arms: that there are.
        least: the first of them, without which nothing is told.

    """
    fitting = max((count for count in range(least, arms + 1) if pace.cost(count, 1) <= left), default=least)
    shapes = max((count for count in range(1, len(pace.passes) + 1) if pace.cost(fitting, count) <= left), default=1)
    rounds = range(FEWEST_ROUNDS, MOST_ROUNDS + 1)
    most = max((count for count in rounds if pace.cost(fitting, shapes, count) <= left), default=FEWEST_ROUNDS)
    return Extent(fitting, pace.cheapest(shapes), most)

"""What a search may spend, and how it is shared, so that some of it is left to try versions: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_SECONDS = 30.0
"""The least to be given: about what loading, an export, an int8 version and its trial take for the smallest models."""
MAKING, SENSITIVITIES = 0.5, 0.75
"""Shares of the time after which no further version is made to be probed, and no sensitivities are measured."""
PROBE, SHORTEST_PROBE = 1.5, 0.3
"""Most and least seconds that a version is probed for at a shape."""


@dataclass(frozen=True)
class Budget:
    """What a search may spend: evaluations of the whole evaluation set, and seconds.

    ``since`` is when the time began, by ``time.monotonic``, None for when the search begins. The final evaluation and
    timing are not counted.
    """

    evaluations: float = 7.0
    seconds: float = 600.0
    since: float | None = None

    def may_make(self, spent: float, longest: float) -> bool:
        """Whether after ``spent`` seconds there is time for a version that takes as long as the ``longest`` so far."""
        return spent + longest <= MAKING * self.seconds

    def probe_seconds(self, spent: float, arms: int, shapes: int) -> float:
        """Seconds of each version's probe at each shape: what is left until ``SENSITIVITIES``, shared."""
        left = SENSITIVITIES * self.seconds - spent
        return min(PROBE, max(SHORTEST_PROBE, left / max(1, arms * shapes)))

    def may_measure_sensitivities(self, spent: float) -> bool:
        """Whether there is time to measure sensitivities; without them only versions at step 0 are tried."""
        return spent <= SENSITIVITIES * self.seconds

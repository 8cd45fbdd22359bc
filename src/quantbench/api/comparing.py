"""Two benchmarks side by side: whether the same run is faster, slower or of other quality in the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quantbench.analysis import machines, pairing
from quantbench.analysis.compare import compare as compared
from quantbench.api import frames
from quantbench.api.benchmark import Benchmark, load_results
from quantbench.config.plan import listed
from quantbench.errors import BadInput, Mistake
from quantbench.schema.results import Result

if TYPE_CHECKING:
    import pandas

SPEED = (
    *("run", "shape", "first_ms", "second_ms", "ratio", "ratio_low", "ratio_high"),
    *("noise_floor", "machine_speed", "verdict"),
)
QUALITY = ("run", "metric", "difference", "difference_low", "difference_high", "verdict")


@dataclass(frozen=True)
class Comparison:
    """Two benchmarks side by side; a notebook shows the text of ``quantbench compare``.

    Attributes:
        first: the first, A in the text.
        second: the second, B.
        differing: in what the two machines or their libraries differ; empty if they are alike.

    """

    first: Benchmark
    second: Benchmark
    differing: tuple[str, ...]

    def to_dataframe(self, rows: Literal["speed", "quality"] = "speed") -> pandas.DataFrame:
        """The figures of the text.

        Args:
            rows: ``speed``, a row per run × shape: the means of both in milliseconds, ``ratio`` of the speedup over
                the original in the second to that in the first (above 1 the second is faster) with its 95 % interval,
                the ``noise_floor`` that it must exceed, ``machine_speed`` (of the second session over the first) and
                ``verdict``. ``quality``, a row per run × metric: second minus first with its interval, and ``verdict``
                (``better``, ``worse`` or ``undecided``).

        Raises:
            BadInput: if there are no such rows, or pandas is not installed.

        """
        if rows == "speed":
            return frames.frame(self._speed(), SPEED)
        if rows == "quality":
            return frames.frame(self._quality(), QUALITY)
        raise BadInput([Mistake(f"to_dataframe({rows!r})", "there is 'speed' and 'quality'")])

    @property
    def slower(self) -> tuple[str, ...]:
        """The runs that are slower in the second, at one shape at least."""
        return tuple(dict.fromkeys(row["run"] for row in self._speed() if row["verdict"] == "slower"))

    @property
    def worse(self) -> tuple[str, ...]:
        """The runs that are worse in the second, by one metric at least."""
        return tuple(dict.fromkeys(row["run"] for row in self._quality() if row["verdict"] == "worse"))

    def _speed(self) -> list[dict[str, Any]]:
        from quantbench.reports import _comparison

        found = []
        for row, verdict in _comparison.judged(compared(self.first, self.second)):
            ratio = (row.ratio.value, row.ratio.low, row.ratio.high) if row.ratio else (None, None, None)
            values = (row.name, row.shape, row.first_ms, row.second_ms, *ratio, row.floor, row.speed, verdict)
            found.append(dict(zip(SPEED, values, strict=True)))
        return found

    def _quality(self) -> list[dict[str, Any]]:
        from quantbench.reports import _comparison

        found = _comparison.qualities(pairing.pairs(self.first, self.second))
        return [
            dict(zip(QUALITY, (run, metric, change.value, change.low, change.high, word), strict=True))
            for run, metric, change, word in found
        ]

    def __str__(self) -> str:
        from quantbench.reports import _comparison

        warning = f"Measured under unlike conditions: {'; '.join(self.differing)}.\n\n" if self.differing else ""
        return warning + _comparison.render(self.first, self.second)

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<Comparison of {str(self.first.folder)!r} and {str(self.second.folder)!r}>"


def compare(first: Benchmark | str | Path, second: Benchmark | str | Path, *, across: bool = False) -> Comparison:
    """Put two benchmarks side by side.

    Args:
        first: a benchmark or its folder.
        second: another.
        across: compare although machine or libraries differ.

    Raises:
        BadInput: if one of them holds no finished run or those of several machines, they share no run, or the two are
            from unlike machines or libraries and ``across`` is not set.

    """
    both = [item if isinstance(item, Benchmark) else load_results(item) for item in (first, second)]
    where = f"{both[0].folder} and {both[1].folder}"
    for bench in both:
        if not any(result.done for result in bench):
            raise BadInput([Mistake(str(bench.folder), "holds no finished run to compare; run it first")])
        if len(machines.by_machine(result for result in bench if result.done)) > 1:
            raise BadInput(
                [Mistake(str(bench.folder), "holds results of several machines; compare the folders of each")]
            )
    if not pairing.pairs(*both):
        held = " ".join(f"{bench.folder} has {_names(bench)}." for bench in both)
        message = f"share no finished run, by settings or by name. {held} Compare folders of one configuration"
        raise BadInput([Mistake(where, message)])
    environments = [next(result.environment for result in bench if result.done) for bench in both]
    differing = machines.unlike(*environments)
    if differing and not across:
        message = (
            f"were measured under unlike conditions ({'; '.join(differing)}); add --across to compare all the same"
        )
        raise BadInput([Mistake(where, message)])
    return Comparison(both[0], both[1], tuple(differing))


def _names(results: Sequence[Result]) -> str:
    """The first finished runs of a folder, and how many there are beyond these."""
    return listed([result.run for result in results if result.done])

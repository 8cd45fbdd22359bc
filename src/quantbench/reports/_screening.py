"""The first answer of a search: which candidates are in question on this machine."""

from __future__ import annotations

from quantbench.analysis.intervals import Interval
from quantbench.reports._markdown import spread, table
from quantbench.tune.screening import WORTH, Standing
from quantbench.tune.state import Family, Screening, Tuned


def text(tuned: Tuned) -> str:
    """The answer in words and its table, as Markdown; of a state that has one."""
    found = tuned.screening
    assert found is not None, "a screening has finished"
    return f"{_words(found)}\n\n{_table(found, tuned.limits[0].metric)}"


def section(tuned: Tuned) -> list[str]:
    """A section of the report; nothing where an earlier version of the search did not ask."""
    if tuned.screening is None:
        return []
    more = (
        "All were searched."
        if tuned.thorough
        else "The search went on without those that are out; `--thorough` has them."
    )
    return ["## Which candidates are in question", text(tuned), more]


def _words(found: Screening) -> str:
    asked = f"{100 * (WORTH - 1):.0f} % faster than `{found.against}`, the fastest without int8"
    out = f": {_names(found, 'out')}" if found.named("out") else "; nothing is"
    told = [
        f"**In question on this machine: {_names(found, 'in question') or 'no int8 at all'}.**",
        f"Out is what is not {asked}, even with everything in int8{out}.",
    ]
    if found.named("not looked at"):
        told.append(f"Not looked at: {_names(found, 'not looked at')}.")
    return " ".join([*told, f"({found.seconds:.0f} s from the float export to this answer.)"])


def _names(found: Screening, standing: Standing) -> str:
    return ", ".join(f"`{name}`" for name in found.named(standing))


def _table(found: Screening, metric: str) -> str:
    """The candidates, the fastest first; what was not timed stands last."""
    at = found.shapes[0] if len(found.shapes) == 1 else f"{', '.join(found.shapes)}, geometric mean"
    header = ["candidate", f"times as fast as `{found.against}` at {at}", f"{metric} lost", "examples", "verdict"]
    rows = sorted(found.families, key=lambda family: -_estimate(family, found.against))
    return table(header, [_row(family, found.against, metric) for family in rows])


def _estimate(family: Family, against: str) -> float:
    if family.candidate == against:
        return 1.0
    return family.speed[0] if family.speed else 0.0


def _row(family: Family, against: str, metric: str) -> list[str]:
    speed = spread(Interval(*family.speed), 2) if family.speed else "1" if family.candidate == against else "–"
    loss = spread(Interval(*family.losses[metric]), 4, "+") if metric in family.losses else "–"
    verdict = f"{family.standing}: {family.why}" if family.why else family.standing
    return [f"`{family.candidate}`", speed, loss, str(family.examples or "–"), verdict]

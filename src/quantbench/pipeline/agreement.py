"""Whether a float export computes what PyTorch computes, on real examples, before anything is built on it.

Tracing follows one input: what a model decides in Python by the length or the size of the batch is frozen as it fell
there (BigBird's switch to full attention, Longformer's chunks). At other lengths such a file fails or computes
something else.

Two runs of one float32 network differ by the order of their sums: some 1e-6 of the outputs' spread for the families of
encoders in the tests, some 1e-5 for deep ones. Allowed is ``SHARE`` of the spread, which is the standard deviation of
an output over all compared examples, and ``FLOOR`` of its largest value for outputs that hardly spread: a hundred times
that noise. What tracing freezes shows as a tenth of the spread and more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from quantbench.errors import first_line
from quantbench.plugins import registry
from quantbench.plugins.examples import Examples, Inputs, Processor
from quantbench.schema.results import ArmSpec
from quantbench.sources.checkpoints import run_once

SHARE = 1e-3
FLOOR = 1e-5
EAGER = "eager"
"""The way of attention that is exported."""
ALONE = 5
"""Examples that are compared one by one."""
ENDS = (-1, 0)
"""The shortest of them beside the longest: the most padding that there is."""

Axes = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True)
class Probe:
    """A batch that both compute.

    Attributes:
        inputs: as arrays.
        members: each row's example, None where it was drawn.
        lengths: each row's tokens without padding.

    """

    inputs: Inputs
    members: tuple[int | None, ...]
    lengths: tuple[int, ...]

    @property
    def width(self) -> int:
        """Tokens of a row with padding."""
        return max(self.lengths)

    @property
    def alone(self) -> bool:
        """Whether it is one example, without padding."""
        return len(self.members) == 1


def probes(
    costs: Sequence[int], collate: Callable[[Sequence[int]], Inputs], drawn: Mapping[int, Inputs] | None = None
) -> list[Probe]:
    """Examples from the longest to the shortest one by one, and in padded batches; widest batch first.

    The widest come first because models may change for good when they meet a short one, as BigBird does.

    Args:
        costs: tokens (patches) of every example.
        collate: a batch of the examples of these numbers.
        drawn: further inputs of one row by their length, such as those that are timed.

    """
    order = sorted(range(len(costs)), key=lambda index: (-costs[index], index))
    places = np.linspace(0, len(order) - 1, ALONE).round().astype(int)
    chosen = list(dict.fromkeys(order[place] for place in places))
    groups = [[index] for index in chosen]
    if len(chosen) > 1:
        groups.append([chosen[place] for place in ENDS])
    if len(chosen) > len(ENDS) + 1:
        groups.append(chosen[1:-1])
    found = [Probe(collate(group), tuple(group), tuple(costs[index] for index in group)) for group in groups]
    found += [Probe(inputs, (None,), (length,)) for length, inputs in (drawn or {}).items()]
    return sorted(found, key=lambda probe: (-probe.width, not probe.alone))


def difference(
    batches: Sequence[Probe],
    exported: Callable[[Inputs], Sequence[Any]],
    modules: Mapping[str, Callable[[], Any]],
    outputs: Axes,
    unit: str,
) -> str | None:
    """Where an export and PyTorch differ by more than noise, in words; None if they nowhere do.

    Padded batches count only where PyTorch itself gives an example the same outputs alone and padded.

    Args:
        batches: see :func:`probes`.
        exported: outputs of a batch by the export, in the order of ``outputs``.
        modules: what loads the PyTorch module afresh, by a name for how it computes attention.
        outputs: the outputs with their free axes.
        unit: what lengths count, such as ``tokens``.

    """
    wanted = {name: _by_pytorch(load(), batches, outputs) for name, load in modules.items()}
    tolerance = _tolerances(
        [values for found in wanted.values() for values in _of_single(batches, found)], len(outputs)
    )
    for number, probe in enumerate(batches):
        try:
            got = _real(exported(probe.inputs), probe, outputs)
        except Exception as error:  # a runtime's own, of any kind
            return f"the export cannot be run {_at(probe, unit)}: {first_line(error)}; {_frozen(batches, unit)}"
        over: dict[str, tuple[float, float]] = {}
        for name, found in wanted.items():
            rows = found[number] if probe.alone else _independent(probe, found[number], batches, found, tolerance)
            apart = _apart([got[row] for row in rows], list(rows.values()), len(outputs))
            worst = max(range(len(outputs)), key=lambda index: apart[index] / tolerance[index])
            if apart[worst] > tolerance[worst]:
                over[name] = apart[worst], tolerance[worst]
        if over:
            name, (apart_by, allowed) = next(iter(over.items()))
            agreeing = [other for other in wanted if other not in over]
            why = _attention(name, agreeing[0]) if agreeing else _frozen(batches, unit)
            where = f"{apart_by:.3g} {_at(probe, unit)}, where rounding explains {allowed:.1g}"
            return f"the export differs from PyTorch by {where}; {why}"
    return None


Rows = dict[int, list[Any]]
"""Values of each output by row, without those of padding."""


def _by_pytorch(module: Any, batches: Sequence[Probe], outputs: Axes) -> list[Rows]:
    values = ([value.float().numpy() for value in run_once(module, probe.inputs, list(outputs))] for probe in batches)
    return [_real(found, probe, outputs) for found, probe in zip(values, batches, strict=True)]


def _real(values: Sequence[Any], probe: Probe, outputs: Axes) -> Rows:
    has_length = [1 in axes for axes in outputs.values()]
    return {
        row: [value[row][:length] if long else value[row] for value, long in zip(values, has_length, strict=True)]
        for row, length in enumerate(probe.lengths)
    }


def _of_single(batches: Sequence[Probe], found: Sequence[Rows]) -> list[list[Any]]:
    return [rows[0] for probe, rows in zip(batches, found, strict=True) if probe.alone]


def _tolerances(examples: Sequence[Sequence[Any]], outputs: int) -> list[float]:
    """What rounding may change of each output; see above."""
    allowed = []
    for index in range(outputs):
        values = np.concatenate([np.ravel(example[index]) for example in examples]).astype(np.float64)
        values = values[np.isfinite(values)]
        allowed.append(SHARE * float(values.std()) + FLOOR * float(np.abs(values).max()) if values.size else 0.0)
    return [max(value, float(np.finfo(np.float32).tiny)) for value in allowed]


def _independent(
    probe: Probe, padded: Rows, batches: Sequence[Probe], found: Sequence[Rows], tolerance: Sequence[float]
) -> Rows:
    """The rows of a padded batch that PyTorch gives the same outputs as alone."""
    alone = {other.members[0]: rows[0] for other, rows in zip(batches, found, strict=True) if other.alone}
    kept = {}
    for row, values in padded.items():
        apart = _apart([values], [alone[probe.members[row]]], len(tolerance))
        if all(one <= most for one, most in zip(apart, tolerance, strict=True)):
            kept[row] = values
    return kept


def _apart(got: Sequence[Sequence[Any]], wanted: Sequence[Sequence[Any]], outputs: int) -> list[float]:
    """Largest difference of each output over rows; infinite where only one of both is a number, or shapes differ."""
    found = [0.0] * outputs
    for one, other in zip(got, wanted, strict=True):
        for index, (mine, its) in enumerate(zip(one, other, strict=True)):
            found[index] = max(found[index], _largest(mine, its))
    return found


def _largest(mine: Any, its: Any) -> float:
    if np.shape(mine) != np.shape(its):
        return math.inf
    both = np.isfinite(mine) & np.isfinite(its)
    if not np.array_equal(np.asarray(mine)[~both], np.asarray(its)[~both], equal_nan=True):
        return math.inf
    return float(np.abs(np.where(both, mine, 0.0) - np.where(both, its, 0.0)).max(initial=0.0))


def _at(probe: Probe, unit: str) -> str:
    if probe.alone:
        timed = " (a length that is timed)" if probe.members[0] is None else ""
        return f"at {probe.width} {unit}{timed}"
    return f"in a batch of {len(probe.members)} padded to {probe.width} {unit}"


def _frozen(batches: Sequence[Probe], unit: str) -> str:
    """What to conclude where no way of PyTorch agrees with the export, and what to do."""
    widths = [probe.width for probe in batches]
    return (
        "its tracing, which follows one short input, froze what this model decides by its input "
        f"(compared at {min(widths)} to {max(widths)} {unit}); choose a model that computes the same at all lengths"
    )


def _attention(differs: str, agrees: str) -> str:
    """What to conclude where one way of attention agrees and the other does not."""
    return (
        f"PyTorch with {agrees} attention agrees with it, with {differs} attention, which the original is scored with, "
        "it does not: the model's two ways of attention differ; choose another, or another version of transformers"
    )


def look(
    exported: ArmSpec,
    original: ArmSpec,
    examples: Examples,
    processor: Processor,
    timed: int | None,
    outputs: Axes,
    threads: int,
) -> str | None:
    """Where an export and PyTorch differ on prepared examples, and on inputs of the length that is timed.

    Args:
        exported: the arm of the export.
        original: the PyTorch arm of its checkpoint.
        examples: of the evaluation split.
        processor: makes batches.
        timed: the longest of the lengths that are timed, where one is.
        outputs: see :func:`difference`.
        threads: to use.

    """
    batches, unit = _probed(examples, processor, timed)

    def module(attention: str) -> Any:
        session: Any = registry.runtime("pytorch").load(original, threads)
        if attention == EAGER:
            session.model.set_attn_implementation(EAGER)
        return session.model

    modules = {name: partial(module, name) for name in ("its default", EAGER)}
    try:
        session = registry.runtime(exported.runtime).load(exported, threads)
    except Exception as error:  # a runtime's own, of any kind
        return f"the export cannot be loaded: {first_line(error)}"
    return difference(batches, session.predict, modules, outputs, unit)


def look_at_copy(
    copy: ArmSpec,
    given: ArmSpec,
    examples: Examples,
    processor: Processor,
    timed: int | None,
    outputs: Axes,
    threads: int,
) -> str | None:
    """Where the copy of an ONNX file and the file itself differ; as :func:`look`, but for the file as the original."""
    batches, unit = _probed(examples, processor, timed)
    found: list[list[Rows]] = []
    for what, spec in (("file", given), ("copy that versions are made from", copy)):
        try:
            session = registry.runtime(spec.runtime).load(spec, threads)
            found.append([_real(session.predict(probe.inputs), probe, outputs) for probe in batches])
        except Exception as error:  # a runtime's own, of any kind
            return f"the {what} cannot be run on the examples: {first_line(error)}"
    tolerance = _tolerances(_of_single(batches, found[0]), len(outputs))
    for probe, wanted, got in zip(batches, *found, strict=True):
        apart = _apart(list(got.values()), list(wanted.values()), len(outputs))
        for difference_of, allowed in zip(apart, tolerance, strict=True):
            if difference_of > allowed:
                where = f"{difference_of:.3g} {_at(probe, unit)}, where rounding explains {allowed:.1g}"
                return f"the copy that versions are made from differs from the file by {where}"
    return None


def _probed(examples: Examples, processor: Processor, timed: int | None) -> tuple[list[Probe], str]:
    """Batches to compare on, and what their lengths count."""
    drawn = {timed: processor.exact_inputs(1, timed, seed=0)} if timed and processor.HAS_LENGTH else {}
    batches = probes(
        examples.costs, lambda group: processor.collate([examples.inputs[index] for index in group]), drawn
    )
    return batches, "tokens" if processor.HAS_LENGTH else "patches"

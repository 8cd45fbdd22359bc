"""Inputs that stand for examples where no data are read: a run that is only timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.plugins.examples import Input, Processor
from quantbench.schema.base import digest
from quantbench.schema.settings import Settings

SHORTEST = 3
"""Tokens of the shortest drawn input: a special one at both ends."""


@dataclass
class Drawn:
    """Inputs that stand for examples where no data are read; see ``protocols.Examples``."""

    inputs: Sequence[Input]
    costs: Sequence[int]
    fingerprint: str
    notes: tuple[str, ...] = ()


def drawn(processor: Processor, settings: Settings) -> Drawn:
    """Drawn tokens: as many as are timed, half of it and a quarter."""
    longest = max(length for length in settings.input_lengths if isinstance(length, int))
    lengths = sorted({max(SHORTEST, longest // part) for part in (1, 2, 4)})
    arrays = [processor.exact_inputs(1, length, seed=0) for length in lengths]
    inputs = [{name: array[0].tolist() for name, array in found.items()} for found in arrays]
    return Drawn(inputs, lengths, digest({"drawn": lengths}))

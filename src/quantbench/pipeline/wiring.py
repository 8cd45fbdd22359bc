"""Which inputs and outputs of a file of any origin are a task's: by name, else by type and shape.

Names settle it wherever they are known. What they leave open is tried: of all ways that types and shapes allow, the one
counts by which the file comes nearest to the original on the same batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from quantbench.errors import RunFailed, first_line
from quantbench.plugins.examples import Inputs
from quantbench.plugins.signature import Signature, Tensor, WiredInput, Wiring
from quantbench.runtimes._wired import feeds

TOKENS = "input_ids"
MADE = ("attention_mask", "token_type_ids", "position_ids")
"""Inputs of texts that can be made where the tokenizer does not give them."""
HINTS = {
    "token_type": "token_type_ids",
    "segment": "token_type_ids",
    "position": "position_ids",
    "mask": "attention_mask",
    "ids": TOKENS,
    "token": TOKENS,
    "pixel": "pixel_values",
}
"""Parts of names that say which input is meant, the most telling first."""
STRANGE = ("decoder", "past", "cache")
"""Parts of names of inputs that no encoder has."""
MOST_TRIED = 24
"""Ways to feed a file of unknown names that are tried: all orders of four inputs."""

Array = np.ndarray[Any, Any]
Run = Callable[[Inputs], Sequence[Any]]


class Unfit(RunFailed):
    """A file's inputs or outputs are not those of the task; the message says which."""


@dataclass(frozen=True)
class Wanted:
    """An output of the task: its name, the original's values of it on the batch, and whether its second axis is tokens.

    ``values`` has shape (batch, …).
    """

    name: str
    values: Array
    long: bool


@dataclass(frozen=True)
class Facts:
    """What is known of the original's inputs beside a batch of them; see ``signature.Wiring``."""

    padding_id: int = 0
    left: bool = False
    first_position: int = 0


def wire(
    signature: Signature, batch: Inputs, alternatives: Sequence[Sequence[Wanted]], facts: Facts, run: Run
) -> Wiring:
    """How a file is fed with batches like this one, and which of its outputs count.

    Args:
        signature: of the file.
        batch: inputs of the task.
        alternatives: the outputs that are wanted, in the order of preference by name.
        facts: see there.
        run: runs the file itself once.

    Raises:
        Unfit: if the file does not take the inputs, or does not give the outputs, with the reason.
        ArmFailed: if its process dies.

    """
    failure, found = "", []
    for candidate in inputs(signature, batch, facts):
        try:
            raw = [run(feed) for feed in feeds(batch, candidate)]
        except ValueError as error:
            raise Unfit(str(error)) from error
        except RunFailed as error:
            failure = failure or first_line(error)
            continue
        found += [
            (_apart(chosen, wanted, raw, candidate), candidate, chosen, wanted)
            for chosen, wanted in outputs(signature, raw[0], alternatives, candidate)
        ]
    if not found:
        raise Unfit(f"cannot be run: {failure}")
    _, best, chosen, wanted = min(found, key=lambda item: item[0])
    return best.model_copy(update={"outputs": chosen, "long": tuple(item.long for item in wanted)})


def inputs(signature: Signature, batch: Inputs, facts: Facts) -> Iterator[Wiring]:
    """Ways to feed a file, by names first.

    Raises:
        Unfit: if there is none.

    """
    named = _named(signature.inputs, batch)
    unnamed = [tensor for tensor in signature.inputs if tensor.name not in named]
    free = [name for name in batch if name not in named.values()]
    if len(unnamed) > len(free):
        told = ", ".join(tensor.name for tensor in unnamed)
        raise Unfit(f"takes {told}, which is no input of this task (there is: {', '.join(batch)})")
    batch_size, length = fixed(signature, TOKENS in batch)
    main = TOKENS if TOKENS in batch else next(iter(batch))
    ways = [dict(zip([item.name for item in unnamed], way, strict=True)) for way in permutations(free, len(unnamed))]
    ways = [way for way in ways if main in {*named.values(), *way.values()}]
    if not ways:
        raise Unfit(f"takes no {main}: its inputs are {', '.join(item.name for item in signature.inputs) or 'none'}")
    for way in ways[:MOST_TRIED]:
        sources = {**named, **way}
        yield Wiring(
            inputs=tuple(
                WiredInput(
                    name=item.name,
                    source=sources[item.name],
                    type=item.type,
                    fill=facts.padding_id if sources[item.name] == TOKENS else 0,
                )
                for item in signature.inputs
            ),
            batch=batch_size,
            length=length,
            left=facts.left,
            first_position=facts.first_position,
        )


def _named(tensors: Sequence[Tensor], batch: Inputs) -> dict[str, str]:
    """The task's inputs by the file's names, as far as these tell."""
    known = [*batch, *(name for name in MADE if TOKENS in batch and name not in batch)]
    for tensor in tensors:
        _check(tensor, batch)
    named = {tensor.name: tensor.name for tensor in tensors if tensor.name in known}
    hinted: dict[str, list[str]] = {}
    for tensor in tensors:
        lowered = tensor.name.lower()
        hint = next((source for part, source in HINTS.items() if part in lowered), "")
        if tensor.name not in named and hint in known and hint not in named.values():
            hinted.setdefault(hint, []).append(tensor.name)
    return {**named, **{names[0]: source for source, names in hinted.items() if len(names) == 1}}


def _check(tensor: Tensor, batch: Inputs) -> None:
    """Refuse an input that cannot be fed whatever it stands for."""
    if any(part in tensor.name.lower() for part in STRANGE):
        raise Unfit(f"takes {tensor.name}: it is no encoder alone, of which this task reads the outputs")
    try:
        fits = np.dtype(tensor.type).kind in "biuf"
    except TypeError:
        fits = False
    if not fits:
        raise Unfit(f"takes {tensor.name} as {tensor.type}, which is no number that can be fed")
    ranks = {np.ndim(array) for array in batch.values()}
    if tensor.shape is not None and len(tensor.shape) not in ranks:
        raise Unfit(f"takes {tensor.name} with {len(tensor.shape)} axes, the task's inputs have {max(ranks)}")


def fixed(signature: Signature, has_length: bool) -> tuple[int | None, int | None]:
    """Rows and tokens that a file takes at once, None where they are free.

    Raises:
        Unfit: if its inputs differ in them.

    """
    shapes = [tensor.shape for tensor in signature.inputs if tensor.shape]
    found: list[int | None] = []
    for axis, what in ((0, "rows"), (1, "tokens")):
        read = [shape[axis] for shape in shapes if len(shape) == 2 or (axis == 0 and not has_length)]
        sizes = sorted({size for size in read if size is not None})
        if len(sizes) > 1:
            raise Unfit(f"its inputs take unlike numbers of {what}: {', '.join(map(str, sizes))}")
        found.append(next(iter(sizes), None))
    return found[0], found[1]


def outputs(
    signature: Signature, arrays: Sequence[Any], alternatives: Sequence[Sequence[Wanted]], wiring: Wiring
) -> list[tuple[tuple[int, ...], Sequence[Wanted]]]:
    """Ways to read a file's outputs: by name, else all that have the right shapes.

    Args:
        signature: of the file.
        arrays: its outputs of one run.
        alternatives: see :func:`wire`.
        wiring: by which it was run.

    Raises:
        Unfit: if there is none.

    """
    places = {tensor.name: place for place, tensor in enumerate(signature.outputs)}
    for wanted in alternatives:
        if all(item.name in places for item in wanted):
            chosen = tuple(places[item.name] for item in wanted)
            for item, place in zip(wanted, chosen, strict=True):
                _check_shape(item, np.shape(arrays[place]), wiring)
            return [(chosen, wanted)]
    for wanted in reversed(alternatives):
        named = {item.name: places[item.name] for item in wanted if item.name in places}
        fits = [
            [
                place
                for place, array in enumerate(arrays)
                if (place == named[item.name] if item.name in named else place not in named.values())
                and np.asarray(array).dtype.kind == "f"
                and np.shape(array) == _expected(item, wiring)
            ]
            for item in wanted
        ]
        ways = _distinct(fits)
        if ways:
            return [(way, wanted) for way in ways]
    told = ", ".join(f"{name} {_told(np.shape(arrays[place]))}" for name, place in places.items())
    missing = " and ".join(f"{item.name} {_told(_expected(item, wiring))}" for item in alternatives[-1])
    raise Unfit(f"gives {told or 'nothing'}, and {missing} is wanted")


def _distinct(fits: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """All ways to take one of each, none twice."""
    ways: list[tuple[int, ...]] = [()]
    for places in fits:
        ways = [(*way, place) for way in ways for place in places if place not in way]
    return ways[:MOST_TRIED]


def _expected(item: Wanted, wiring: Wiring) -> tuple[int, ...]:
    """The shape of an output of one run of the file, in which nothing was cut off."""
    rows, *rest = item.values.shape
    if item.long and wiring.length is not None:
        rest[0] = wiring.length
    return (wiring.batch or rows, *rest)


def _check_shape(item: Wanted, shape: tuple[int, ...], wiring: Wiring) -> None:
    wanted = _expected(item, wiring)
    if shape != wanted:
        raise Unfit(f"gives {item.name} {_told(shape)}, the original {_told(wanted)}: it is no form of this model")


def _told(shape: Sequence[int]) -> str:
    return f"[{' × '.join(map(str, shape))}]"


def _apart(places: Sequence[int], wanted: Sequence[Wanted], raw: Sequence[Sequence[Any]], wiring: Wiring) -> float:
    """How far outputs are from the original's, each brought to length 1; infinite where they are no numbers."""
    total = 0.0
    for place, item in zip(places, wanted, strict=True):
        rows, *rest = item.values.shape
        mine = np.concatenate([np.asarray(run[place], dtype=np.float64) for run in raw])[:rows]
        if item.long:
            mine = mine[:, mine.shape[1] - rest[0] :] if wiring.left else mine[:, : rest[0]]
        total += float(np.linalg.norm(_unit(mine) - _unit(item.values.astype(np.float64))))
    return total if np.isfinite(total) else float("inf")


def _unit(array: Array) -> Array:
    length = float(np.linalg.norm(array))
    if not np.isfinite(length):
        return np.full_like(array, np.nan)
    return np.asarray(array / length if length else array)

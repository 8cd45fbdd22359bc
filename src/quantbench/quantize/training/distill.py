"""Distillation without labels: a graph learns to give what the original gives, rounded as it will be deployed.

Outputs, by the divergence of what they stand for (Hinton et al., 2015, "Distilling the Knowledge in a Neural Network"),
and the sums that residual branches join, which both graphs have (Jiao et al., 2020, "TinyBERT"; Kim et al., 2019,
"QKD"). Positions count by the inverse square of what the original has there, as in the repair of pruned layers. The
rate rises for a while and falls to nothing as the time runs out. Both kinds count as shares of what they are before, on
examples that are kept apart; these say, by the outputs, which of the weights on the way are taken, those of the
beginning included, so that nothing gets worse by what they tell.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from quantbench.plugins.protocols import Likelihood
from quantbench.quantize.training.graph import Round, TrainedGraph

BATCH, APART, FEWEST_APART = 16, 10, 8
"""Examples of a step; a tenth of all is kept apart, but no fewer than so many."""
WARM = 0.05
"""Share of the time in which the rate rises."""
LOOKS = 8
"""How often those kept apart are looked at."""
DECAY, LONGEST_GRADIENT = 0.01, 1.0
FAINT = 0.1
"""Positions at which the original has less than this share of the usual are not counted for more."""
SAVED_EVERY = 30.0
"""Seconds after which the state is written, so that no more is lost to a kill."""
Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Pupil:
    """What learns, and from what.

    Attributes:
        graph: that is trained.
        rounding: of its products by name; see :meth:`TrainedGraph.run`.
        outputs: names of outputs that count.
        hidden: names of tensors in the middle that the original has as well.
        likelihood: what the outputs are.
        original: gives outputs and tensors in the middle of a batch, by name.
        batch: the inputs of examples by number, padded.
        lengths: of the examples.

    """

    graph: TrainedGraph
    rounding: Mapping[str, tuple[Round, Round]]
    outputs: Sequence[str]
    hidden: Sequence[str]
    likelihood: Likelihood
    original: Callable[[Arrays], Arrays]
    batch: Callable[[Sequence[int]], Arrays]
    lengths: Sequence[int]


@dataclass
class Progress:
    """How far training is; written from time to time.

    Attributes:
        before: what outputs and the middle miss at the beginning, on examples that are kept apart.
        best: the least that outputs have missed there.

    """

    seconds: float = 0.0
    steps: int = 0
    looks: int = 0
    before: tuple[float, float] = (math.inf, math.inf)
    best: float = math.inf
    weights: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Progress:
        """What an earlier call has written; the beginning where there is none, or none that can be read."""
        try:
            return cls(**torch.load(path, weights_only=True))
        except (OSError, RuntimeError, ValueError, TypeError, EOFError, KeyError):
            return cls()

    def write(self, path: Path) -> None:
        """Write it, in place of what was there only once it is whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(vars(self), partial)
        partial.replace(path)


def distill(
    pupil: Pupil, seconds: float, rate: float, seed: int, path: Path, advance: Callable[[float], object]
) -> Progress:
    """Train for so many seconds, from where an earlier call was interrupted.

    Args:
        pupil: its weights are changed, and are the best that were found afterwards.
        seconds: in all calls.
        rate: of AdamW at its highest (Loshchilov and Hutter, 2019).
        seed: of the order of examples.
        path: of the state.
        advance: told the seconds that have passed since the last time.

    """
    progress, weights = Progress.read(path), pupil.graph.weights
    apart, learned = _parts(len(pupil.lengths), seed)
    optimizer = torch.optim.AdamW(list(weights.values()), lr=rate, weight_decay=DECAY)
    if progress.steps:
        _put(weights, progress.weights)
        optimizer.load_state_dict(progress.optimizer)
    else:
        progress.before = missed_by(pupil, apart)
        progress.best = progress.before[0]
        progress.best_weights = _taken(weights)
    advance(min(progress.seconds, seconds))
    batches, written = _batches(pupil.lengths, learned, seed, progress.steps), time.monotonic()
    while progress.seconds < seconds:
        began = time.monotonic()
        share = progress.seconds / seconds
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (share + 1e-3) / WARM, (1 - share) / (1 - WARM))
        _step(pupil, next(batches), optimizer, progress.before)
        progress.steps += 1
        if share >= (progress.looks + 1) / LOOKS:
            _look(pupil, apart, progress)
        spent = time.monotonic() - began
        advance(min(spent, seconds - progress.seconds))
        progress.seconds += spent
        if time.monotonic() - written > SAVED_EVERY:
            progress.weights, progress.optimizer = _taken(weights), optimizer.state_dict()
            progress.write(path)
            written = time.monotonic()
    _look(pupil, apart, progress)
    _put(weights, progress.best_weights)
    return progress


def missed_of(pupil: Pupil, numbers: Sequence[int]) -> tuple[Any, Any]:
    """What outputs miss and what tensors in the middle miss, over a batch of examples."""
    arrays = pupil.batch(numbers)
    expected = {name: torch.from_numpy(np.asarray(value)) for name, value in pupil.original(arrays).items()}
    inputs = {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}
    found = pupil.graph.run(inputs, [*pupil.outputs, *pupil.hidden], pupil.rounding)
    mask = inputs.get("attention_mask")
    total: Any = sum(_apart(pupil.likelihood, expected[name], found[name], mask) for name in pupil.outputs)
    alike = [name for name in pupil.hidden if expected[name].shape == found[name].shape]
    middle: Any = sum(_missed(expected[name], found[name], mask) for name in alike)
    return total / len(pupil.outputs), middle / max(1, len(alike))


def _apart(likelihood: Likelihood, expected: Any, found: Any, mask: Any) -> Any:
    """Divergence of outputs in nats; of embeddings and numbers, the share of their squares that is missed."""
    if likelihood == "categorical":
        logs, wanted = torch.log_softmax(found, -1), torch.log_softmax(expected, -1)
        terms = (wanted.exp() * (wanted - logs)).sum(-1)
    elif likelihood == "bernoulli":
        wanted = torch.sigmoid(expected)
        terms = functional.binary_cross_entropy_with_logits(found, wanted, reduction="none")
        terms = (terms - functional.binary_cross_entropy_with_logits(expected, wanted, reduction="none")).sum(-1)
    else:
        return _missed(expected, found, mask)
    return _mean(terms, mask)


def _missed(expected: Any, found: Any, mask: Any) -> Any:
    """Mean square of what is missed, over that of what is there, by position."""
    there = expected.square().mean(-1)
    usual = there[mask.bool()].median() if mask is not None and mask.shape == there.shape else there.median()
    return _mean((found - expected).square().mean(-1) / (there + FAINT * usual + 1e-9), mask)


def _mean(terms: Any, mask: Any) -> Any:
    """Over positions that are no padding, where terms are by position."""
    if mask is None or mask.shape != terms.shape:
        return terms.mean()
    return torch.where(mask.bool(), terms, torch.zeros(())).sum() / mask.sum()


def _step(pupil: Pupil, numbers: Sequence[int], optimizer: Any, before: tuple[float, float]) -> None:
    parts = zip(missed_of(pupil, numbers), before, strict=True)
    missed: Any = sum(part / start for part, start in parts if start > 0)
    optimizer.zero_grad(set_to_none=True)
    missed.backward()
    torch.nn.utils.clip_grad_norm_(list(pupil.graph.weights.values()), LONGEST_GRADIENT)
    optimizer.step()


def _look(pupil: Pupil, apart: Sequence[int], progress: Progress) -> None:
    """Keep the weights if they are the best so far for the examples that are kept apart."""
    progress.looks += 1
    found = missed_by(pupil, apart)[0]
    if found < progress.best:
        progress.best, progress.best_weights = found, _taken(pupil.graph.weights)


def missed_by(pupil: Pupil, apart: Sequence[int]) -> tuple[float, float]:
    """The same over any number of examples, as numbers."""
    with torch.no_grad():
        parts = [apart[start : start + BATCH] for start in range(0, len(apart), BATCH)]
        rows = [[len(part) * float(value) for value in missed_of(pupil, part)] for part in parts]
    outputs, middle = np.sum(rows, axis=0) / len(apart)
    return float(outputs), float(middle)


def _parts(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the examples that are kept apart, and of those that are learned from; the same where there are few."""
    order = np.random.default_rng(seed).permutation(count).tolist()
    apart = max(FEWEST_APART, count // APART)
    return (order[:apart], order[apart:]) if count > 2 * apart else (order, order)


def _batches(lengths: Sequence[int], learned: Sequence[int], seed: int, begun: int) -> Iterator[list[int]]:
    """Batches of examples of about the same length, over and over; from a step on."""
    generator, number = np.random.default_rng((seed, 1)), 0
    while True:
        order = generator.permutation(learned).tolist()
        order.sort(key=lambda place: lengths[place] // 8)
        parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        for place in generator.permutation(len(parts)).tolist():
            if number >= begun:
                yield parts[place]
            number += 1


def _taken(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in weights.items()}


def _put(weights: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            weights[name].copy_(value)

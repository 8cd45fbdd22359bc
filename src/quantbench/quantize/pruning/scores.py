"""What every neuron and every head is worth: its Fisher score, from one pass forward and back.

What taking a unit does to the distribution of the model's outputs is, as Kullback-Leibler divergence and to second
order, half the expected square of the derivative of the log-likelihood by the unit's mask, outputs being drawn from the
model itself (the diagonal of the Fisher information; Kwon et al., 2022, "A Fast Post-Training Pruning Framework for
Transformers", section 4.1; Kunstner et al., 2019, on drawn outputs). No labels are needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbench.plugins.examples import Inputs
from quantbench.plugins.protocols import Likelihood
from quantbench.quantize.mixed.likelihood import drawn_loss
from quantbench.quantize.modules import matrix_digest, of_matrices
from quantbench.schema.reporter import Advance
from quantbench.served.pytorch import accepted

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Read:
    """Weights that read units, shape (units × size, outputs), and how many values a unit has."""

    matrix: Array
    size: int = 1


def fisher(
    model: Any,
    layers: Mapping[str, Read],
    batches: Sequence[Inputs],
    outputs: Sequence[str],
    likelihood: Likelihood,
    advance: Advance,
    seed: int = 0,
) -> dict[str, Array]:
    """Scores of the units of every layer whose weights are in the model: nats per sentence, shape (units,).

    Args:
        model: the transformers module.
        layers: what reads the units, by layer.
        batches: inputs; with ``attention_mask`` where sentences are padded.
        outputs: names of the model's outputs that count.
        likelihood: what these are.
        advance: told 1 after each batch.
        seed: of the outputs that are drawn.

    """
    import torch

    names = {matrix_digest(np.ascontiguousarray(layer.matrix)): name for name, layer in layers.items()}
    totals: dict[str, Any] = defaultdict(float)
    found = list(of_matrices(model, names))
    handles = [
        module.register_forward_pre_hook(_hook(names[key], layers[names[key]].size, totals)) for key, module, _ in found
    ]
    generator, sentences = torch.Generator().manual_seed(seed), 0
    try:
        for batch in batches:
            tensors = {name: torch.from_numpy(batch[name]) for name in accepted(model, batch)}
            mask = tensors.get("attention_mask")
            answered = model(**tensors)
            loss = drawn_loss(likelihood, [answered[name] for name in outputs], mask, generator)
            model.zero_grad(set_to_none=True)
            loss.backward()
            sentences += len(next(iter(tensors.values())))
            advance(1)
    finally:
        for handle in handles:
            handle.remove()
    return {name: np.asarray(total.numpy()) / 2 / sentences for name, total in totals.items()}


def _hook(name: str, size: int, totals: dict[str, Any]) -> Any:
    def hook(_module: Any, inputs: tuple[Any, ...]) -> None:
        inner = inputs[0]
        values = inner.detach()

        def meet(gradient: Any) -> None:
            met = (gradient * values).unflatten(-1, (-1, size)).sum(dim=-1)
            by_sentence = met.flatten(1, -2).sum(dim=1) if met.ndim > 2 else met
            totals[name] = totals[name] + (by_sentence.double() ** 2).sum(dim=0)

        inner.register_hook(meet)

    return hook

"""The sensitivity of every product with constant weights to int8, from one pass forward and back over a small sample.

Rounding a product's operands changes its result by an error e that is computed beside the float result. To second
order the Kullback-Leibler divergence that this causes at the model's outputs is half the mean of ``(g . e) ** 2``,
where g is the gradient of the log-likelihood of outputs drawn from the model's own distribution (the Fisher
information, as in Hessian-aware quantization: Nagel et al. 2020, "Up or Down?", section 3; Kunstner et al. 2019 on
why the outputs must be drawn). All products and modes are judged in the same pass; nothing is quantized and evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantbench.plugins.examples import Inputs
from quantbench.plugins.protocols import Likelihood
from quantbench.quantize.mixed.error_hooks import ErrorHooks, Groups, Sensitivities
from quantbench.quantize.mixed.likelihood import drawn_loss
from quantbench.schema.reporter import Advance


def measure(
    model: Any,
    groups: Groups,
    batches: Sequence[Inputs],
    outputs: Sequence[str],
    likelihood: Likelihood,
    advance: Advance,
    seed: int = 0,
) -> Sensitivities:
    """Sensitivities of all groups that are found in the PyTorch model: expected divergence in nats per token.

    A group whose weights are in no module of the model, because the exporter changed them, is left out.

    Args:
        model: the transformers module whose export the groups are of.
        groups: what is judged.
        batches: inputs; with ``attention_mask`` where sentences are padded.
        outputs: names of the model's outputs that count.
        likelihood: what these are.
        advance: told 1 after each batch.
        seed: of the outputs that are drawn.

    """
    import torch

    hooks = ErrorHooks(groups)
    handles = hooks.attach(model)
    generator = torch.Generator().manual_seed(seed)
    tokens = 0
    try:
        for batch in batches:
            tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
            mask = tensors.get("attention_mask")
            hooks.begin()
            found = model(**tensors)
            loss = drawn_loss(likelihood, [found[name] for name in outputs], mask, generator)
            model.zero_grad(set_to_none=True)
            loss.backward()
            hooks.end()
            tokens += int(mask.sum()) if mask is not None else int(next(iter(tensors.values())).numel())
            advance(1)
    finally:
        for handle in handles:
            handle.remove()
    return {
        group: {mode: total / 2 / tokens for mode, total in totals.items()} for group, totals in hooks.totals.items()
    }

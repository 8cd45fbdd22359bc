"""How much every product with constant weights would hurt in int8, from one pass forward and back over a small sample.

Rounding a product's operands changes its result by an error e that is computed beside the float result. To second
order the Kullback-Leibler divergence that this causes at the model's outputs is half the mean of ``(g . e) ** 2``,
where g is the gradient of the log-likelihood of outputs drawn from the model's own distribution (the Fisher
information, as in Hessian-aware quantization: Nagel et al. 2020, "Up or Down?", section 3; Kunstner et al. 2019 on
why the outputs must be drawn). All products and modes are judged in the same pass; nothing is quantized and evaluated.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.graph.view import Graph
from quantbench.plugins.protocols import Inputs, Likelihood
from quantbench.quantize.calibration.activations import Statistics
from quantbench.quantize.mixed import int8
from quantbench.quantize.mixed.likelihood import drawn_loss
from quantbench.quantize.mixed.products import Site
from quantbench.schema.reporter import Advance
from quantbench.schema.settings import Calibration

if TYPE_CHECKING:
    import torch

Scores = dict[str, dict[str, float]]
"""Expected divergence in nats per token, by unit (the tensor that is read) and mode."""


def measure(
    model: Any,
    graph: Graph,
    units: Mapping[str, Sequence[Site]],
    statistics: Statistics,
    calibration: Calibration,
    per_channel: bool,
    batches: Sequence[Inputs],
    advance: Advance,
    outputs: Sequence[str],
    likelihood: Likelihood,
    seed: int = 0,
) -> Scores:
    """Sensitivities of all units that are found in the PyTorch model.

    Args:
        model: the transformers module whose export the graph is.
        graph: the float export.
        units: sites by the tensor that they read.
        statistics: of these tensors, for the ranges of the mode ``static``.
        calibration: method of the ranges.
        per_channel: granularity of the weights.
        batches: inputs; with ``attention_mask`` where sentences are padded.
        advance: told 1 after each batch.
        outputs: names of the model's outputs that count.
        likelihood: what these are.
        seed: of the outputs that are drawn.

    A unit whose weights are in no module of the model, because the exporter changed them, is left out.

    """
    import torch

    watch = _Watch(graph, units, statistics, calibration, per_channel)
    handles = watch.attach(model)
    generator = torch.Generator().manual_seed(seed)
    tokens = 0
    try:
        for batch in batches:
            tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
            mask = tensors.get("attention_mask")
            watch.begin()
            found = model(**tensors)
            loss = drawn_loss(likelihood, [found[name] for name in outputs], mask, generator)
            model.zero_grad(set_to_none=True)
            loss.backward()
            watch.end()
            tokens += int(mask.sum()) if mask is not None else int(next(iter(tensors.values())).numel())
            advance(1)
    finally:
        for handle in handles:
            handle.remove()
    return {unit: {mode: value / 2 / tokens for mode, value in scores.items()} for unit, scores in watch.totals.items()}


class _Watch:
    """Hooks that compute every site's error beside its float result, and meet it with the gradient on the way back."""

    def __init__(
        self,
        graph: Graph,
        units: Mapping[str, Sequence[Site]],
        statistics: Statistics,
        calibration: Calibration,
        per_channel: bool,
    ) -> None:
        import torch

        self.totals: Scores = {}
        self._places: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self._calls: dict[str, int] = {}
        self._sums: dict[tuple[str, str], Any] = {}
        self._steps = {name: int8.activation(*figures.range(calibration)) for name, figures in statistics.items()}
        for unit, members in units.items():
            for site in members:
                matrix = np.ascontiguousarray(site.matrix(graph))
                numbers, scale, _ = int8.quantize(matrix, "int8", per_channel)
                rounded = torch.from_numpy(numbers.astype(np.float32) * scale)
                self._places[_digest(matrix)].append((unit, rounded))

    def attach(self, model: Any) -> list[Any]:
        """Hook every module whose weight is that of a site."""
        handles = []
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if weight is None or weight.ndim != 2:
                continue
            for transposed in (True, False):
                matrix = (weight.T if transposed else weight).detach().contiguous().float().numpy()
                key = _digest(matrix)
                if key in self._places and not hasattr(module, "num_embeddings"):
                    plain = torch_copy(matrix)
                    handles.append(module.register_forward_hook(self._hook(key, plain)))
                    break
        return handles

    def begin(self) -> None:
        """A batch starts: shared weights are called in the graph's order."""
        self._calls = defaultdict(int)
        self._sums = {}

    def end(self) -> None:
        """A batch ends: the products of gradient and error, one per sentence, are squared and added up."""
        for (unit, mode), values in self._sums.items():
            scores = self.totals.setdefault(unit, {})
            scores[mode] = scores.get(mode, 0.0) + float((values.double() ** 2).sum())

    def _hook(self, key: str, plain: Any) -> Any:
        import torch

        def hook(_module: Any, inputs: tuple[Any, ...], output: Any) -> None:
            unit, rounded = self._places[key][self._calls[key] % len(self._places[key])]
            self._calls[key] += 1
            with torch.no_grad():
                source = inputs[0].detach()
                errors = {
                    mode: self._rounded(unit, mode, source) @ rounded - source @ plain
                    for mode in ("dynamic", *(["static"] if unit in self._steps else []))
                }

            def meet(gradient: Any) -> None:
                for mode, error in errors.items():
                    value = (gradient * error).flatten(1).sum(dim=1)
                    self._sums[unit, mode] = self._sums.get((unit, mode), 0) + value

            output.register_hook(meet)

        return hook

    def _rounded(self, unit: str, mode: str, source: torch.Tensor) -> torch.Tensor:
        import torch

        if mode == "static":
            scale, zero = (float(value) for value in self._steps[unit])
        else:
            step, number = int8.activation(float(source.min()), float(source.max()))
            scale, zero = float(step), float(number)
        return (torch.clamp(torch.round(source / scale) + zero, 0, 255) - zero) * scale


def torch_copy(matrix: np.ndarray[Any, Any]) -> Any:
    """A tensor with its own copy of the values, which no gradient follows."""
    import torch

    return torch.from_numpy(matrix.copy())


def _digest(matrix: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(repr(matrix.shape).encode() + np.ascontiguousarray(matrix).tobytes()).hexdigest()

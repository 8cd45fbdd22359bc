"""What rounding a product's operands would add to its result, met with the gradient of the loss: hooks on a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.graph.view import Graph
from quantbench.quantize.calibration.activations import Statistics
from quantbench.quantize.mixed import int8
from quantbench.quantize.mixed.products import Product
from quantbench.quantize.modules import matrix_digest, of_matrices
from quantbench.schema.settings import Calibration

if TYPE_CHECKING:
    import torch

Sensitivities = dict[str, dict[str, float]]
"""A figure by group of products (the tensor that is read) and mode."""


@dataclass(frozen=True)
class Groups:
    """Groups of products, and how int8 would round what they read and hold.

    Attributes:
        graph: the float export.
        products: its products with constant weights, by the tensor that they read.
        statistics: of these tensors, for the ranges of the mode ``static``.
        calibration: method of the ranges.
        per_channel: granularity of the weights.

    """

    graph: Graph
    products: Mapping[str, Sequence[Product]]
    statistics: Statistics
    calibration: Calibration
    per_channel: bool


class ErrorHooks:
    """Hooks that compute every product's error beside its float result, and meet it with the gradient on the way back.

    Attributes:
        totals: sum over sentences of ``(g . e) ** 2``, by group and mode.

    """

    def __init__(self, groups: Groups) -> None:
        import torch

        self.totals: Sensitivities = {}
        self._places: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self._calls: dict[str, int] = {}
        self._sums: dict[tuple[str, str], Any] = {}
        self._static = {
            name: int8.activation(*figures.range(groups.calibration)) for name, figures in groups.statistics.items()
        }
        for group, members in groups.products.items():
            for product in members:
                matrix = np.ascontiguousarray(product.matrix(groups.graph))
                numbers, scale, _ = int8.quantize(matrix, "int8", groups.per_channel)
                rounded = torch.from_numpy(numbers.astype(np.float32) * scale)
                self._places[matrix_digest(matrix)].append((group, rounded))

    def attach(self, model: Any) -> list[Any]:
        """Hook every module whose weight is that of a product; handles that remove the hooks.

        A module that gives several tensors is not looked at: which of them is the product's result nothing says.
        """
        handles = []
        for key, module, matrix in of_matrices(model, self._places):
            handles.append(module.register_forward_hook(self._hook(key, _torch_copy(matrix))))
        return handles

    def begin(self) -> None:
        """A batch starts: shared weights are called in the graph's order."""
        self._calls = defaultdict(int)
        self._sums = {}

    def end(self) -> None:
        """A batch ends: the products of gradient and error, one per sentence, are squared and added up."""
        for (group, mode), values in self._sums.items():
            by_mode = self.totals.setdefault(group, {})
            by_mode[mode] = by_mode.get(mode, 0.0) + float((values.double() ** 2).sum())

    def _hook(self, key: str, plain: Any) -> Any:
        import torch

        def hook(_module: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if not isinstance(output, torch.Tensor):  # a router of experts gives what it made of its product
                return
            group, rounded = self._places[key][self._calls[key] % len(self._places[key])]
            self._calls[key] += 1
            with torch.no_grad():
                source = inputs[0].detach()
                errors = {
                    mode: self._rounded(group, mode, source) @ rounded - source @ plain
                    for mode in ("dynamic", *(["static"] if group in self._static else []))
                }

            def meet(gradient: Any) -> None:
                for mode, error in errors.items():
                    value = (gradient * error).flatten(1).sum(dim=1)
                    self._sums[group, mode] = self._sums.get((group, mode), 0) + value

            result: Any = output  # torch's method has no types
            result.register_hook(meet)

        return hook

    def _rounded(self, group: str, mode: str, source: torch.Tensor) -> torch.Tensor:
        import torch

        if mode == "static":
            scale, zero = (float(value) for value in self._static[group])
        else:
            step, number = int8.activation(float(source.min()), float(source.max()))
            scale, zero = float(step), float(number)
        return (torch.clamp(torch.round(source / scale) + zero, 0, 255) - zero) * scale


def _torch_copy(matrix: np.ndarray[Any, Any]) -> Any:
    """A tensor with its own copy of the values, which no gradient follows."""
    import torch

    return torch.from_numpy(matrix.copy())

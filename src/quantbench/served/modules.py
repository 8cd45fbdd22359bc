"""What turns the states of a text's tokens into its embedding: the modules behind a transformer, in NumPy.

They compute what those of sentence-transformers 6.2 compute (``base/modules`` and ``sentence_transformer/modules``) for
one text without padding. Each is a step, as JSON holds it: its ``kind``, the names of what it ``reads`` and ``writes``,
which are ``token_embeddings`` of shape (tokens, width) or ``sentence_embedding`` of shape (width,), and its own
settings. Numbers are float64, so that only the model's own rounding is left.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Step = Mapping[str, Any]
TOKENS, SENTENCE = "token_embeddings", "sentence_embedding"
SMALLEST = 1e-12
"""Length that a vector is at least divided by, as in ``torch.nn.functional.normalize``."""
NORM_EPSILON = 1e-5
"""Of ``torch.nn.LayerNorm``."""
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Types of numbers in safetensors; of bfloat16 the bits."""


WEIGHTED = "weightedmean"
"""The pooling in which each token weighs as much as its position in the text, from 1, the prompt counted."""
POOLINGS: Mapping[str, Callable[[Array], Array]] = {
    "cls": lambda states: states[0],
    "max": lambda states: states.max(axis=0),
    "mean": lambda states: states.mean(axis=0),
    "mean_sqrt_len_tokens": lambda states: states.sum(axis=0) / math.sqrt(len(states)),
    "lasttoken": lambda states: states[-1],
}
"""All others: from states of shape (tokens, width) to a vector of this width."""
MODES = (*POOLINGS, WEIGHTED)


def _sigmoid(x: Array) -> Array:
    return np.asarray((1 + np.tanh(x / 2)) / 2)


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "GELU": lambda x: x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2,
    "SiLU": lambda x: x * _sigmoid(x),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
}
"""Activation functions behind a Dense, by the names of torch's classes, which are made without arguments."""


@dataclass(frozen=True)
class Head:
    """Modules with their weights.

    Attributes:
        steps: in the order that they are done in.
        weights: of those that have some, by the file's name in the model's folder and the tensor's.

    """

    steps: Sequence[Step]
    weights: Mapping[str, Mapping[str, Array]]

    def embedding(self, states: Array, prompt: int) -> Array:
        """The embedding of one text.

        Args:
            states: of its tokens without padding, of shape (tokens, width).
            prompt: tokens in front that belong to the prompt, fewer than all.

        """
        features: dict[str, Array] = {TOKENS: np.asarray(states, dtype=np.float64)}
        for step in self.steps:
            given = features[step["reads"]]
            if step["kind"] == "Pooling":
                made = _pooled(given, step, prompt)
            elif step["kind"] == "Dense":
                made = _dense(given, step, self.weights[step["weights"]])
            elif step["kind"] == "LayerNorm":
                made = _layer_norm(given, self.weights[step["weights"]])
            else:
                made = given / np.maximum(np.linalg.norm(given, axis=-1, keepdims=True), SMALLEST)
            features[step["writes"]] = made
        return features[SENTENCE]


def leaves_out_prompt(steps: Sequence[Step]) -> bool:
    """Whether some pooling passes over the tokens of the prompt."""
    return any(step["kind"] == "Pooling" and not step["include_prompt"] for step in steps)


def head(steps: Sequence[Step], folder: Path) -> Head:
    """The modules with the weights that lie in the model's folder.

    Raises:
        ValueError: if a file of weights is damaged.

    """
    return Head(steps, {step["weights"]: tensors(folder / step["weights"]) for step in steps if "weights" in step})


def _pooled(states: Array, step: Step, prompt: int) -> Array:
    first = 0 if step["include_prompt"] else prompt
    shares = np.arange(first + 1, len(states) + 1, dtype=np.float64)
    shares /= shares.sum()
    own = states[first:]
    return np.concatenate([shares @ own if mode == WEIGHTED else POOLINGS[mode](own) for mode in step["modes"]])


def _dense(given: Array, step: Step, weights: Mapping[str, Array]) -> Array:
    made = ACTIVATIONS[step["activation"]](given @ weights["linear.weight"].T + weights.get("linear.bias", 0.0))
    if not step["residual"]:
        return made
    return made + (given @ weights["residual.weight"].T if "residual.weight" in weights else given)


def _layer_norm(given: Array, weights: Mapping[str, Array]) -> Array:
    centred = given - given.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + NORM_EPSILON)
    return np.asarray(centred / scale * weights["norm.weight"] + weights["norm.bias"])


def tensors(file: Path) -> dict[str, Array]:
    """The numbers in a safetensors file as float64, by name.

    The format: the header's length in eight bytes, little-endian; the header, JSON with type, shape and place of each
    tensor; then all numbers, row by row (https://huggingface.co/docs/safetensors, "Format").

    Raises:
        ValueError: if it is damaged, or holds numbers of another type.

    """
    data = file.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:begin])
        return {name: _tensor(data[begin:], about) for name, about in header.items() if name != "__metadata__"}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} is no safetensors file with floating-point weights, or damaged") from error


def _tensor(data: bytes, about: Mapping[str, Any]) -> Array:
    first, last = about["data_offsets"]
    found: Array = np.frombuffer(data[first:last], dtype=NUMBERS[about["dtype"]])
    if about["dtype"] == "BF16":  # the upper half of a float32
        found = (found.astype(np.uint32) << 16).view(np.float32)
    return found.astype(np.float64).reshape(about["shape"])

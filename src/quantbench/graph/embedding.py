"""The modules behind a transformer as nodes of its ONNX graph, so that one file gives the embedding of a text.

Nodes are appended for steps as ``served.modules`` has them, in operators of ONNX alone, for opsets from 11, whichever
side padding stands on. Sums are float32 here and float64 there: embeddings of length 1 differ by less than 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantbench.graph import edit

OUTPUT = "sentence_embedding"
TOKENS = "token_embeddings"
STATES, MASK = "last_hidden_state", "attention_mask"
PROMPT = "prompt_length"
"""Input with a default that says how many tokens in front of every text belong to its prompt."""
SMALLEST, NORM_EPSILON = 1e-12, 1e-5
"""As in ``torch.nn.functional.normalize`` and ``torch.nn.LayerNorm``."""
AXES_ARE_INPUTS = {"ReduceSum": 13, "Unsqueeze": 13}
"""Opset from which axes are an input and no attribute; for other reductions it is 18."""
LATER = 18
OPSET, IR_VERSION = 17, 8
"""Of modules by themselves."""
Step = Mapping[str, Any]
Weights = Mapping[str, Mapping[str, np.ndarray[Any, Any]]]


def with_embedding(
    model: onnx.ModelProto,
    steps: Sequence[Step],
    weights: Weights,
    prompt: int = 0,
    states: str = STATES,
    mask: str = MASK,
) -> onnx.ModelProto:
    """A copy of a model that also gives ``sentence_embedding``, float32 of shape (batch, width).

    It is the first output, because there are readers that take the first whatever its name is; others ask by name.
    Where a pooling leaves out the prompt, the length of the prompt is an input ``prompt_length``, int64 of shape (),
    with ``prompt`` as its default, so that only those who have another prompt need to know of it.

    Args:
        model: gives ``states``, float32 of shape (batch, tokens, width).
        steps: see ``served.modules``.
        weights: of the steps, by file and tensor.
        prompt: tokens in front of every text, the special ones counted, that a pooling leaves out which does not
            include the prompt.
        states: the output that is pooled.
        mask: the input of shape (batch, tokens), int64, which is 1 where there is no padding.

    Raises:
        ValueError: if the model has no such input or output.

    """
    problem = lacking(model, states, mask)
    if problem:
        raise ValueError(problem)
    copied = edit.copy(model)
    nodes = _Nodes(copied)
    features = {TOKENS: states}
    for step in steps:
        features[step["writes"]] = _step(nodes, step, features[step["reads"]], weights, mask, prompt)
    nodes.add("Identity", features[OUTPUT], name=OUTPUT)
    copied.graph.output.insert(0, helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch_size", None]))
    return copied


def lacking(model: onnx.ModelProto, states: str = STATES, mask: str = MASK) -> str:
    """What a model has not of which its embedding would be made, as a sentence; empty if it has it."""
    for kind, name, there in (("input", mask, model.graph.input), ("output", states, model.graph.output)):
        if name not in {item.name for item in there}:
            return f"the model has no {kind} {name!r}, of which its embedding would be made"
    return ""


def alone(steps: Sequence[Step], weights: Weights, width: int, prompt: int = 0) -> onnx.ModelProto:
    """The modules by themselves: from ``token_embeddings`` of shape (batch, tokens, width) and the mask."""
    sizes = ["batch_size", "sequence_length"]
    given = helper.make_tensor_value_info(TOKENS, TensorProto.FLOAT, [*sizes, width])
    passed = helper.make_tensor_value_info(STATES, TensorProto.FLOAT, [*sizes, width])
    mask = helper.make_tensor_value_info(MASK, TensorProto.INT64, sizes)
    graph = helper.make_graph([helper.make_node("Identity", [TOKENS], [STATES])], "modules", [given, mask], [passed])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return with_embedding(model, steps, weights, prompt)


class _Nodes:
    """Appends nodes and constants to a graph, in place; every method gives the name of what it made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        self.count = 0

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        made = name or self._name(kind)
        self.graph.node.append(helper.make_node(kind, list(inputs), [made], name=f"{made}/node", **attributes))
        return made

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        name = self._name("constant")
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def default(self, name: str, value: int) -> str:
        """An int64 input of shape () that need not be given."""
        if name not in {item.name for item in self.graph.input}:
            self.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, []))
            self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=np.int64), name))
        return name

    def along(self, kind: str, given: str, axis: int, **attributes: Any) -> str:
        """A reduction, or an axis of one, wherever axes stand in this opset."""
        if self.opset >= AXES_ARE_INPUTS.get(kind, LATER):
            return self.add(kind, given, self.constant([axis], np.int64), **attributes)
        return self.add(kind, given, axes=[axis], **attributes)

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{OUTPUT}/{kind}_{self.count}"


def _step(nodes: _Nodes, step: Step, given: str, weights: Weights, mask: str, prompt: int) -> str:
    if step["kind"] == "Pooling":
        left_out = nodes.constant(0, np.int64) if step["include_prompt"] else nodes.default(PROMPT, prompt)
        return _pooled(nodes, step["modes"], given, mask, left_out)
    if step["kind"] == "Dense":
        return _dense(nodes, step, given, weights[step["weights"]])
    if step["kind"] == "LayerNorm":
        return _layer_norm(nodes, given, weights[step["weights"]])
    length = nodes.along("ReduceL2", given, -1, keepdims=1)
    return nodes.add("Div", given, nodes.add("Max", length, nodes.constant(SMALLEST)))


def _pooled(nodes: _Nodes, modes: Sequence[str], states: str, mask: str, prompt: str) -> str:
    """Sums under a mask, of which those of single tokens have one term; a token's position counts no padding.

    ``prompt`` is the number of tokens in front that are passed over.
    """
    positions = nodes.add("CumSum", mask, nodes.constant(1, np.int64))
    last = nodes.along("ReduceSum", mask, 1, keepdims=1)

    def where(compare: str, other: str) -> str:
        """1 for tokens whose position compares so, 0 for others and padding; of shape (batch, tokens, 1)."""
        there = nodes.add("Cast", nodes.add(compare, positions, other), to=TensorProto.INT64)
        return nodes.along("Unsqueeze", nodes.add("Cast", nodes.add("Mul", there, mask), to=TensorProto.FLOAT), 2)

    def total(shares: str) -> str:
        return nodes.along("ReduceSum", nodes.add("Mul", states, shares), 1, keepdims=0)

    def mean(shares: str, divisor: Callable[[str], str] = str) -> str:
        return nodes.add("Div", total(shares), divisor(nodes.along("ReduceSum", shares, 1, keepdims=0)))

    own = where("Greater", prompt)
    made = []
    for mode in modes:
        if mode == "cls":
            made.append(total(where("Equal", nodes.add("Add", prompt, nodes.constant(1, np.int64)))))
        elif mode == "lasttoken":
            made.append(total(where("Equal", last)))
        elif mode == "max":
            inside = nodes.add("Cast", own, to=TensorProto.BOOL)
            lowest = nodes.constant(np.finfo(np.float32).min)
            made.append(nodes.along("ReduceMax", nodes.add("Where", inside, states, lowest), 1, keepdims=0))
        elif mode == "weightedmean":
            places = nodes.along("Unsqueeze", nodes.add("Cast", positions, to=TensorProto.FLOAT), 2)
            made.append(mean(nodes.add("Mul", own, places)))
        else:
            made.append(mean(own) if mode == "mean" else mean(own, lambda count: nodes.add("Sqrt", count)))
    return nodes.add("Concat", *made, axis=-1) if len(made) > 1 else made[0]


def _dense(nodes: _Nodes, step: Step, given: str, weights: Mapping[str, np.ndarray[Any, Any]]) -> str:
    made = nodes.add("MatMul", given, nodes.constant(weights["linear.weight"].T))
    if "linear.bias" in weights:
        made = nodes.add("Add", made, nodes.constant(weights["linear.bias"]))
    made = _activated(nodes, step["activation"], made)
    if not step["residual"]:
        return made
    if "residual.weight" in weights:
        given = nodes.add("MatMul", given, nodes.constant(weights["residual.weight"].T))
    return nodes.add("Add", made, given)


def _activated(nodes: _Nodes, name: str, x: str) -> str:
    if name == "GELU":
        inner = nodes.add("Erf", nodes.add("Div", x, nodes.constant(math.sqrt(2))))
        return nodes.add("Mul", x, nodes.add("Mul", nodes.add("Add", inner, nodes.constant(1)), nodes.constant(0.5)))
    if name == "SiLU":
        return nodes.add("Mul", x, nodes.add("Sigmoid", x))
    if name == "LeakyReLU":
        return nodes.add("LeakyRelu", x, alpha=0.01)
    return nodes.add({"ReLU": "Relu", "ELU": "Elu"}.get(name, name), x)


def _layer_norm(nodes: _Nodes, given: str, weights: Mapping[str, np.ndarray[Any, Any]]) -> str:
    centred = nodes.add("Sub", given, nodes.along("ReduceMean", given, -1, keepdims=1))
    variance = nodes.along("ReduceMean", nodes.add("Mul", centred, centred), -1, keepdims=1)
    scale = nodes.add("Sqrt", nodes.add("Add", variance, nodes.constant(NORM_EPSILON)))
    scaled = nodes.add("Mul", nodes.add("Div", centred, scale), nodes.constant(weights["norm.weight"]))
    return nodes.add("Add", scaled, nodes.constant(weights["norm.bias"]))

"""ONNX operators as functions of torch, through which there is a way back, for opsets 11 to 20.

By hand rather than by onnx2torch, which needs torchvision and knows few operators of opsets after 17. What transformer
encoders are exported to is here (ONNX, "Operators.md"); anything else is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from quantbench.errors import RunFailed

Values = Sequence[Any]
"""Inputs of a node: tensors, None for those that are left out."""
Options = Mapping[str, Any]
"""Attributes of a node, and ``opset``."""
Operator = Callable[[Values, Options], Any]
"""From inputs and attributes to the output, or a tuple of several."""
AXES_SINCE_13 = 13
"""Opset since which Softmax works along one axis and not over all that follow (ONNX, Changelog.md)."""


def _refused(what: str) -> RunFailed:
    return RunFailed(f"aware_training: there is no way back through {what}; set it to false")


def _elementwise(function: Callable[..., Any]) -> Operator:
    return lambda given, _: function(*given)


def _folded(function: Callable[..., Any]) -> Operator:
    """Of any number of inputs, two by two."""

    def work(given: Values, _: Options) -> Any:
        found = given[0]
        for value in given[1:]:
            found = function(found, value)
        return found

    return work


def _divide(one: Any, other: Any) -> Any:
    return torch.div(one, other) if one.is_floating_point() else torch.div(one, other, rounding_mode="trunc")


def _power(base: Any, exponent: Any) -> Any:
    return torch.pow(base, exponent.to(base.dtype) if base.is_floating_point() else exponent)


def _clip(given: Values, _: Options) -> Any:
    value, low, high = (*given, None, None)[:3]
    value = value if low is None else torch.maximum(value, low)
    return value if high is None else torch.minimum(value, high)


def _mod(given: Values, options: Options) -> Any:
    return torch.fmod(*given) if options.get("fmod", 0) else torch.remainder(*given)


def _gelu(given: Values, options: Options) -> Any:
    return functional.gelu(given[0], approximate=_text(options.get("approximate", "none")))


def _gemm(given: Values, options: Options) -> Any:
    one, other, bias = (*given, None)[:3]
    one = one.T if options.get("transA", 0) else one
    other = other.T if options.get("transB", 0) else other
    product = options.get("alpha", 1.0) * (one @ other)
    return product if bias is None else product + options.get("beta", 1.0) * bias


def _softmax(function: Callable[..., Any]) -> Operator:
    def work(given: Values, options: Options) -> Any:
        value = given[0]
        if options["opset"] >= AXES_SINCE_13:
            return function(value, dim=options.get("axis", -1))
        axis = options.get("axis", 1) % value.ndim
        return function(value.flatten(axis), dim=-1).reshape(value.shape)

    return work


def _layer_normalization(given: Values, options: Options) -> Any:
    value, scale, bias = (*given, None)[:3]
    axis = options.get("axis", -1) % value.ndim
    return functional.layer_norm(value, value.shape[axis:], scale, bias, options.get("epsilon", 1e-5))


def _reduced(function: Callable[..., Any]) -> Operator:
    """Axes are an attribute, or an input."""

    def work(given: Values, options: Options) -> Any:
        value = given[0]
        axes = given[1].tolist() if len(given) > 1 and given[1] is not None else options.get("axes")
        if not axes and options.get("noop_with_empty_axes", 0):
            return value
        return function(value, dim=tuple(axes or range(value.ndim)), keepdim=bool(options.get("keepdims", 1)))

    return work


def _squares(value: Any, **where: Any) -> Any:
    return value.square().sum(**where)


def _shape(given: Values, options: Options) -> Any:
    return torch.tensor(tuple(given[0].shape)[options.get("start", 0) : options.get("end")], dtype=torch.int64)


def _gather(given: Values, options: Options) -> Any:
    value, places = given
    axis = options.get("axis", 0) % value.ndim
    places = torch.where(places < 0, places + value.shape[axis], places)
    found = value.index_select(axis, places.reshape(-1))
    return torch.reshape(found, (*value.shape[:axis], *places.shape, *value.shape[axis + 1 :]))


def _gather_elements(given: Values, options: Options) -> Any:
    value, places = given
    axis = options.get("axis", 0) % value.ndim
    return value.gather(axis, torch.where(places < 0, places + value.shape[axis], places))


def _gather_nd(given: Values, options: Options) -> Any:
    if options.get("batch_dims", 0):
        raise _refused("GatherND with batch_dims")
    value, places = given
    return value[tuple(places.movedim(-1, 0))]


def _scatter_nd(given: Values, _: Options) -> Any:
    value, places, updates = given
    found = value.clone()
    found[tuple(places.movedim(-1, 0))] = updates
    return found


def _slice(given: Values, _: Options) -> Any:
    value, starts, ends, axes, steps = (*given, None, None)[:5]
    begins = starts.tolist()
    along = range(len(begins)) if axes is None else axes.tolist()
    by = [1] * len(begins) if steps is None else steps.tolist()
    for begin, end, axis, step in zip(begins, ends.tolist(), along, by, strict=True):
        places = range(value.shape[axis])[slice(begin, end, step)]
        value = value.narrow(axis, places.start, len(places)) if step == 1 else _picked(value, axis, places)
    return value


def _picked(value: Any, axis: int, places: range) -> Any:
    return value.index_select(axis, torch.tensor(list(places), dtype=torch.int64))


def _axes(given: Values, options: Options) -> list[int]:
    """Axes as an attribute or as an input."""
    if len(given) > 1 and given[1] is not None:
        return list(given[1].reshape(-1).tolist())
    return list(options.get("axes", ()))


def _unsqueeze(given: Values, options: Options) -> Any:
    value = given[0]
    rank = value.ndim + len(axes := _axes(given, options))
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _squeeze(given: Values, options: Options) -> Any:
    value = given[0]
    axes = {axis % value.ndim for axis in _axes(given, options)}
    kept = [size for axis, size in enumerate(value.shape) if (axis not in axes if axes else size != 1)]
    return torch.reshape(value, kept)


def _reshape(given: Values, options: Options) -> Any:
    value, shape = given[0], given[1].tolist()
    if not options.get("allowzero", 0):
        shape = [value.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return torch.reshape(value, shape)


def _expand(given: Values, _: Options) -> Any:
    value, shape = given
    size = np.broadcast_shapes(tuple(value.shape), tuple(shape.tolist()))
    return value.expand(size)


def _pad(given: Values, options: Options) -> Any:
    if _text(options.get("mode", "constant")) != "constant" or len(given) > 3:
        raise _refused("Pad of another mode than constant, or of some axes")
    value, pads = given[0], given[1].tolist()
    around = [pads[axis + side * value.ndim] for axis in reversed(range(value.ndim)) for side in (0, 1)]
    return functional.pad(value, around, value=given[2].item() if len(given) > 2 and given[2] is not None else 0)


def _transpose(given: Values, options: Options) -> Any:
    return given[0].permute(options.get("perm", tuple(reversed(range(given[0].ndim)))))


def _flatten(given: Values, options: Options) -> Any:
    axis = options.get("axis", 1)
    return given[0].reshape(math.prod(given[0].shape[:axis]), -1)


def _split(given: Values, options: Options) -> Any:
    value, axis = given[0], options.get("axis", 0)
    if len(given) > 1 and given[1] is not None:
        return tuple(value.split(given[1].tolist(), dim=axis))
    if "split" in options:
        return tuple(value.split(list(options["split"]), dim=axis))
    parts = options.get("num_outputs", options["outputs"])
    return tuple(value.split(-(-value.shape[axis] // parts), dim=axis))


def _cast(given: Values, options: Options) -> Any:
    return given[0].to(_type(options["to"]))


def _type(number: int) -> Any:
    return getattr(torch, onnx.helper.tensor_dtype_to_np_dtype(number).name)


def _constant(_: Values, options: Options) -> Any:
    kinds = {"value_float": torch.float32, "value_floats": torch.float32, "value_int": torch.int64}
    name = next(name for name in options if name.startswith("value"))
    value = options[name]
    return value if name == "value" else torch.tensor(value, dtype=kinds.get(name, torch.int64))


def _constant_of_shape(given: Values, options: Options) -> Any:
    value = options.get("value", torch.zeros(1))
    return torch.full(given[0].tolist(), value.reshape(-1)[0].item(), dtype=value.dtype)


def _range(given: Values, _: Options) -> Any:
    return torch.arange(*(value.item() for value in given), dtype=given[0].dtype)


def _cumsum(given: Values, options: Options) -> Any:
    value, axis = given[0], int(given[1])
    ahead = value.flip(axis) if options.get("reverse", 0) else value
    sums = ahead.cumsum(axis).to(value.dtype)
    sums = sums - ahead if options.get("exclusive", 0) else sums
    return sums.flip(axis) if options.get("reverse", 0) else sums


def _trilu(given: Values, options: Options) -> Any:
    along = int(given[1]) if len(given) > 1 and given[1] is not None else 0
    return given[0].triu(along) if options.get("upper", 1) else given[0].tril(along)


def _convolution(given: Values, options: Options) -> Any:
    value, weights, bias = (*given, None)[:3]
    space = value.ndim - 2
    pads = list(options.get("pads", [0] * 2 * space))
    if _text(options.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        raise _refused("Conv with auto_pad")
    around = [pads[place + side * space] for place in reversed(range(space)) for side in (0, 1)]
    value = functional.pad(value, around) if any(around) else value
    work = {1: functional.conv1d, 2: functional.conv2d}[space]
    by = {"stride": list(options.get("strides", [1] * space)), "dilation": list(options.get("dilations", [1] * space))}
    return work(value, weights, bias, groups=options.get("group", 1), **by)


def _extreme(function: Callable[..., Any]) -> Operator:
    def work(given: Values, options: Options) -> Any:
        return function(given[0], dim=options.get("axis", 0), keepdim=bool(options.get("keepdims", 1)))

    return work


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


Function = Callable[..., Any]
ELEMENTWISE: Mapping[str, Function] = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Div": _divide,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": functional.hardswish,
    "Identity": lambda value: value,
    "IsInf": torch.isinf,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Pow": _power,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": functional.softplus,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Where": torch.where,
}
FOLDED: Mapping[str, Function] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sum": torch.add,
    "Xor": torch.logical_xor,
}
REDUCED: Mapping[str, Function] = {
    "ReduceL2": torch.linalg.vector_norm,
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceSum": torch.sum,
    "ReduceSumSquare": _squares,
}
OPERATORS: Mapping[str, Operator] = {
    **{name: _elementwise(function) for name, function in ELEMENTWISE.items()},
    **{name: _folded(function) for name, function in FOLDED.items()},
    **{name: _reduced(function) for name, function in REDUCED.items()},
    "ArgMax": _extreme(torch.argmax),
    "ArgMin": _extreme(torch.argmin),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda given, options: torch.cat(list(given), dim=options["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _convolution,
    "CumSum": _cumsum,
    "Dropout": lambda given, _: given[0],
    "Einsum": lambda given, options: torch.einsum(_text(options["equation"]), *given),
    "Elu": lambda given, options: functional.elu(given[0], options.get("alpha", 1.0)),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda given, _: given[0].mean(dim=tuple(range(2, given[0].ndim)), keepdim=True),
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": lambda given, options: functional.leaky_relu(given[0], options.get("alpha", 0.01)),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Mod": _mod,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax(torch.softmax),
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda given, _: given[0].tile(tuple(given[1].tolist())),
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
"""By operator type."""

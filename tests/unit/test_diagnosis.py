"""What a diagnosis is made of: the search for the tensors at fault, and what sets a range."""

import math

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantbench.diagnose.causes import Example, Extremes, bits, causes, huge_constant, position_axes, width
from quantbench.diagnose.damage import evenly_spaced, find_faults, recovered, single_out
from quantbench.diagnose.records import Damage
from quantbench.graph.view import Graph
from quantbench.quantize.fake_quant import Rounding, find_roundings, restored, switched, unfolded

TENSORS = [f"t{number}" for number in range(32)]


@pytest.mark.parametrize("guilty", [{"t0"}, {"t0", "t1", "t2"}, {"t3", "t17"}, {"t30"}, set(TENSORS)])
def test_the_search_finds_exactly_what_is_needed(guilty):
    calls = []

    def enough(names):
        calls.append(names)
        return guilty <= set(names)

    assert set(find_faults(TENSORS, enough)) == guilty
    assert len(calls) < 12 + len(TENSORS)


def test_the_search_keeps_one_of_several_that_will_do():
    assert find_faults(TENSORS, lambda names: len(set(names) & {"t2", "t5"}) > 0) == ["t2"]


def test_tensors_that_do_damage_alone_are_singled_out_with_few_measurements():
    calls = []

    def negligible(names):
        calls.append(names)
        return not {"t5", "t31"} & set(names)

    assert single_out(TENSORS, negligible) == ["t5", "t31"]
    assert len(calls) < 25
    assert single_out([], negligible) == []


def test_damage_recovered_is_counted_between_everything_and_weights_alone():
    whole, floor = Damage(changed=0.8, divergence=2.0), Damage(changed=0.1, divergence=0.5)
    assert recovered(whole, floor, floor) == 1
    assert recovered(whole, floor, whole) == 0
    assert recovered(whole, floor, Damage(changed=0.4, divergence=1.25)) == pytest.approx(0.5)
    assert recovered(floor, floor, floor) == 0


def test_samples_are_spread_over_all_there_are():
    assert evenly_spaced(5, 10) == [0, 1, 2, 3, 4]
    assert evenly_spaced(101, 3) == [0, 50, 100]


def test_ranges_hold_zero_and_bits_are_the_logarithm_of_widths():
    assert width((2.0, 4.0)) == 4
    assert width((-3.0, -1.0)) == 3
    assert bits((-8.0, 8.0), (-1.0, 1.0)) == 3
    assert bits((-1.0, 1.0), (-1.0, 1.0)) == 0
    assert bits((-3e38, 1.0), (-1.0, 1.0)) == 8
    assert bits((0.0, 0.0), (0.0, 0.0)) == 0


def test_axes_of_positions_follow_the_length():
    assert position_axes([(1, 5, 8), (1, 8, 8)], [5, 8]) == (1,)
    assert position_axes([(1, 4, 5, 5), (1, 4, 9, 9)], [5, 9]) == (2, 3)
    assert position_axes([(1, 8), (1, 8)], [5, 8]) == ()


def rounding(low, high):
    scale = (high - low) / 255
    return Rounding("t", "t", "q", "d", scale, round(-low / scale), (0, 255), "Add", ("reader",))


def sentence(length, width):
    special = np.zeros(width, dtype=bool)
    special[[0, length - 1]] = True
    tokens = ("[CLS]", *["word"] * (length - 2), "[SEP]", *["[PAD]"] * (width - length))
    return Example(inputs={}, length=length, tokens=tokens, special=special)


def values(length=6, width=10, channels=16, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (1, width, channels)).astype(np.float32), sentence(length, width)


def look(array, example):
    found = Extremes(axes=(1,))
    found.add(array, example)
    return found


def told(array, example, low, high, constant=None, clipping=0.0):
    real = sentence(example.length, example.length)
    return causes(rounding(low, high), look(array, example), look(array[:, : example.length], real), constant, clipping)


def test_extremes_at_padding():
    array, example = values()
    array[0, 8, 3] = 16.0
    (cause,) = told(array, example, -1, 16)
    assert cause.kind == "padding"
    assert cause.bits == pytest.approx(math.log2(17 / 2), abs=0.2)
    peak = look(array, example).peak
    assert (peak.padded, peak.channel, peak.token) == (True, (3,), "[PAD]")
    assert peak.value == 16


def test_extremes_at_special_tokens():
    array, example = values()
    array[0, 5, :] *= 10  # all channels, so that none stands out
    kinds = {cause.kind: cause for cause in told(array, example, -10, 10)}
    assert set(kinds) == {"special tokens"}
    assert kinds["special tokens"].tokens == ("[SEP]",)


def test_outlying_channels_are_named_with_their_factor():
    array, example = values()
    array[:, :, 7] *= 60
    array[:, :, 2] *= 30
    (cause,) = told(array, example, -60, 60)
    assert cause.kind == "channels"
    assert cause.channels == ((7,), (2,))
    assert 40 < cause.factor < 90
    assert cause.bits == pytest.approx(math.log2(60), abs=0.5)


def test_a_constant_comes_first_and_a_clipped_one_is_told_as_such():
    array, example = values()
    array[0, 6:] = -3e38
    first, second = told(array, example, -3e38, 1, constant=-3e38)
    assert (first.kind, first.value, first.bits) == ("constant", -3e38, 8)
    assert second.kind == "padding"
    array, example = values()
    assert told(array, example, -1, 1, constant=-3e38)[0].kind == "clipped"
    assert told(array, example, -0.5, 0.5, clipping=0.9)[0].kind == "clipped"
    assert [cause.kind for cause in told(array, example, -1, 1)] == ["wide"]


def graph_of(nodes, constants, inputs=("x",), output="y"):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_constants_are_found_where_they_are_added_and_not_behind_weights():
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["inverted"]),
        helper.make_node("Mul", ["inverted", "huge"], ["bias"]),
        helper.make_node("Add", ["x", "bias"], ["sum"]),
        helper.make_node("MatMul", ["sum", "weights"], ["product"]),
        helper.make_node("Add", ["product", "one"], ["y"]),
    ]
    constants = {"one": np.float32(1), "huge": np.float32(-1e9), "weights": np.ones((4, 4), np.float32)}
    graph = Graph(graph_of(nodes, constants, ("x", "mask")))
    assert huge_constant(graph, "sum") == pytest.approx(-1e9)
    assert huge_constant(graph, "y") is None
    assert huge_constant(graph, "product") is None


def quantized():
    """Two products in a row; both activations are rounded, and so is the result."""
    constants = {
        "step": np.float32(0.5),
        "zero": np.uint8(128),
        "weights": np.int8([[1, 2], [3, 4], [5, 6], [7, 8]]),
        "weight_scale": np.float32([0.1, 0.2]),
        "weight_zero": np.int8([0, 0]),
    }
    step = ["step", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *step], ["x/q"], "x/quantize"),
        helper.make_node("DequantizeLinear", ["x/q", *step], ["x/d"], "x/dequantize"),
        helper.make_node("DequantizeLinear", ["weights", "weight_scale", "weight_zero"], ["w"], "w/dequantize", axis=1),
        helper.make_node("MatMul", ["x/d", "w"], ["y_QuantizeLinear_Input"], "product"),
        helper.make_node("QuantizeLinear", ["y_QuantizeLinear_Input", *step], ["y/q"], "y/quantize"),
        helper.make_node("DequantizeLinear", ["y/q", *step], ["y"], "y/dequantize"),
    ]
    return graph_of(nodes, constants)


def run(model, **inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()  # unoptimized: fusions may round what stands in float beside int8 weights
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


X = np.float32([[0.3, -0.7, 1.2, 2.6]])
WEIGHTS = np.float32([[1, 2], [3, 4], [5, 6], [7, 8]]) * np.float32([0.1, 0.2])


def halves(array):
    return np.rint(array / 0.5) * 0.5


def test_roundings_have_the_names_of_the_float_export():
    first, second = find_roundings(Graph(quantized()))
    assert (first.tensor, first.source, first.maker, first.readers) == ("x", "x", "input", ("product",))
    assert (second.tensor, second.source, second.maker) == ("y", "y_QuantizeLinear_Input", "MatMul")
    assert first.range == (-64.0, 63.5)
    assert first.apply(X).tolist() == halves(X).tolist()
    assert first.apply(np.float32([1e6, -1e6])).tolist() == [63.5, -64.0]


@pytest.mark.parametrize(
    ("tensors", "wanted"),
    [
        ((), halves(halves(X) @ WEIGHTS)),
        (("x",), halves(X @ WEIGHTS)),
        (("y",), halves(X) @ WEIGHTS),
        (("x", "y"), X @ WEIGHTS),
    ],
)
def test_what_is_restored_is_read_in_float(tensors, wanted):
    model = quantized()
    before = model.SerializeToString(deterministic=True)
    changed = restored(model, tensors)
    assert run(changed, x=X) == pytest.approx(wanted, abs=1e-5)
    assert model.SerializeToString(deterministic=True) == before, "the model itself stays as it is"
    assert {item.tensor for item in find_roundings(Graph(changed))} == {"x", "y"} - set(tensors)
    assert run(unfolded(changed), x=X) == pytest.approx(wanted, abs=1e-5)
    graph, roundings = switched(model)
    switches = np.array([item.tensor not in tensors for item in roundings])
    assert run(graph, x=X, switches=switches) == pytest.approx(wanted, abs=1e-5)


def test_only_what_is_rounded_can_be_restored():
    with pytest.raises(ValueError, match="does not round nothing"):
        restored(quantized(), ["nothing"])

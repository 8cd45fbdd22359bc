"""Training without labels: operators as ONNX has them, rounding as quantizers have it, and a loop that can be killed."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from quantbench.errors import RunFailed
from quantbench.quantize.training import distill as training
from quantbench.quantize.training import rounding
from quantbench.quantize.training.distill import Pupil, distill
from quantbench.quantize.training.graph import TrainedGraph
from quantbench.quantize.training.operators import OPERATORS

GENERATOR = np.random.default_rng(0)
FLOATS = GENERATOR.standard_normal((2, 3, 4)).astype(np.float32)
POSITIVE = np.abs(FLOATS) + np.float32(0.1)
WHOLE = np.array([[7, -7, 5], [-5, 2, 9]], dtype=np.int64)
TRUTH = np.array([[True, False, True], [False, False, True]])
PICTURE = GENERATOR.standard_normal((2, 4, 9, 9)).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


CASES = [
    *((name, [FLOATS], {}) for name in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Identity", "IsNaN")),
    *((name, [FLOATS], {}) for name in ("IsInf", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Tanh")),
    *((name, [FLOATS], {}) for name in ("Elu", "LeakyRelu", "Shape", "Flatten", "Transpose", "Dropout", "Softmax")),
    *((name, [POSITIVE], {}) for name in ("Log", "Reciprocal", "Sqrt")),
    *((name, [FLOATS, POSITIVE[:, :1]], {}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum")),
    *((name, [FLOATS, FLOATS[:1]], {}) for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *((name, [TRUTH, TRUTH[:, ::-1].copy()], {}) for name in ("And", "Or", "Xor")),
    *((name, [FLOATS], {"keepdims": keep}) for name in ("ReduceMax", "ReduceMin", "ReduceMean") for keep in (0, 1)),
    *((name, [FLOATS], {"axes": [1]}) for name in ("ReduceL2", "ReduceSumSquare", "ReduceMean")),
    *((name, [FLOATS], {"axis": 1, "keepdims": 0}) for name in ("ArgMax", "ArgMin")),
    ("ReduceSum", [FLOATS, ints(0, -1)], {"keepdims": 0}),
    ("ReduceSum", [FLOATS], {}),
    ("ReduceSum", [FLOATS, ints()], {"noop_with_empty_axes": 1}),
    ("Max", [FLOATS, POSITIVE, FLOATS[:1]], {}),
    ("Div", [WHOLE, ints(2, 2, -2)], {}),
    ("Pow", [POSITIVE, np.float32(1.5)], {}),
    ("Pow", [FLOATS, np.int64(2)], {}),
    ("Mod", [WHOLE, ints(3, 3, -4)], {}),
    ("Mod", [FLOATS, POSITIVE], {"fmod": 1}),
    ("Clip", [FLOATS, np.float32(-0.5), np.float32(0.5)], {}),
    ("Clip", [FLOATS, np.float32(0)], {}),
    ("Not", [TRUTH], {}),
    ("Where", [TRUTH, WHOLE, -WHOLE], {}),
    ("MatMul", [FLOATS, FLOATS.transpose(0, 2, 1)], {}),
    ("Gemm", [FLOATS[0], FLOATS[1], FLOATS[0, :, :3]], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", [FLOATS[0], FLOATS[1]], {"transA": 1}),
    ("Einsum", [FLOATS, FLOATS], {"equation": "bij,bkj->bik"}),
    ("Softmax", [FLOATS], {"axis": 1}),
    ("LogSoftmax", [FLOATS], {"axis": -1}),
    ("LayerNormalization", [FLOATS, POSITIVE[0, 0], FLOATS[0, 0]], {"axis": -1, "epsilon": 1e-3}),
    ("LayerNormalization", [FLOATS, POSITIVE[0]], {"axis": 1}),
    ("Shape", [FLOATS], {"start": 1, "end": 3}),
    ("Gather", [FLOATS, ints(1, -1)], {"axis": 2}),
    ("Gather", [FLOATS, WHOLE % 2], {}),
    ("Gather", [FLOATS, np.int64(-1)], {"axis": 1}),
    ("Gather", [ints(4, 5), np.int64(1)], {}),
    ("GatherElements", [WHOLE, ints([-1, 0], [1, 2])], {"axis": 1}),
    ("GatherND", [FLOATS, ints([1, 2], [0, 0])], {}),
    ("ScatterND", [FLOATS, ints([1, 2], [0, 0]), FLOATS[0, :2]], {}),
    ("Slice", [FLOATS, ints(1), ints(2**62), ints(1)], {}),
    ("Slice", [FLOATS, ints(0, -1), ints(2, -5), ints(1, 2), ints(1, -2)], {}),
    ("Slice", [FLOATS, ints(0, 1), ints(1, 2)], {}),
    ("Concat", [FLOATS, POSITIVE], {"axis": -1}),
    ("Unsqueeze", [FLOATS, ints(0, -1)], {}),
    ("Squeeze", [FLOATS[:1], ints(0)], {}),
    ("Squeeze", [FLOATS[:1, :, :1]], {}),
    ("Reshape", [FLOATS, ints(0, -1)], {}),
    ("Expand", [FLOATS[:, :1], ints(1, 3, 1)], {}),
    ("Transpose", [FLOATS], {"perm": [2, 0, 1]}),
    ("Flatten", [FLOATS], {"axis": 2}),
    ("Pad", [FLOATS, ints(0, 1, 2, 1, 0, 0), np.float32(3)], {}),
    ("Squeeze", [FLOATS[:1, :1, :1]], {}),
    ("Reshape", [FLOATS[:1, :1, :1], ints()], {}),
    ("Tile", [FLOATS, ints(1, 2, 1)], {}),
    ("Split", [FLOATS, ints(1, 3)], {"axis": 2}),
    ("Cast", [FLOATS], {"to": TensorProto.INT64}),
    ("ConstantOfShape", [ints(2, 3)], {"value": numpy_helper.from_array(np.array([4], dtype=np.int64))}),
    ("ConstantOfShape", [ints(2, 3)], {}),
    ("Range", [np.int64(1), np.int64(9), np.int64(3)], {}),
    ("CumSum", [WHOLE, np.int64(1)], {}),
    *(("CumSum", [WHOLE, np.int64(1)], {"reverse": way, "exclusive": 1}) for way in (0, 1)),
    ("CumSum", [FLOATS, np.int64(0)], {"reverse": 1}),
    ("Trilu", [WHOLE, np.int64(1)], {"upper": 0}),
    ("Trilu", [FLOATS], {}),
    (
        "Conv",
        [PICTURE, PICTURE[:, :2, :3, :3], FLOATS[0, 0, :2]],
        {"group": 2, "strides": [2, 2], "pads": [1, 0, 2, 1]},
    ),
    ("Conv", [PICTURE[:, :, 0], PICTURE[:, :, 0, :3]], {"dilations": [2]}),
    ("GlobalAveragePool", [PICTURE], {}),
    ("Gelu", [FLOATS], {"approximate": "tanh"}),
    ("Gelu", [FLOATS], {}),
]


def single(kind, arrays, attributes, opset):
    names = [f"in{place}" for place in range(len(arrays))]
    outputs = ["out", "out1"] if kind == "Split" else ["out"]
    node = helper.make_node(kind, names, outputs, kind, **attributes)
    kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
    given = [
        helper.make_tensor_value_info(name, kind_, array.shape)
        for name, kind_, array in zip(names, kinds, arrays, strict=True)
    ]
    found = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
    return helper.make_model(
        helper.make_graph([node], "one", given, found), opset_imports=[helper.make_opsetid("", opset)]
    )


@pytest.mark.parametrize(("kind", "arrays", "attributes"), CASES)
def test_an_operator_gives_what_the_reference_gives(kind, arrays, attributes):
    arrays = [np.asarray(array) for array in arrays]
    made = single(kind, arrays, attributes, 20 if kind == "Gelu" else 17)
    inputs = {f"in{place}": array for place, array in enumerate(arrays)}
    wanted = [item.name for item in made.graph.output]
    found = TrainedGraph(made).run({name: torch.from_numpy(array) for name, array in inputs.items()}, wanted, {})
    for name, expected in zip(wanted, ReferenceEvaluator(made).run(None, inputs), strict=True):
        value = found[name].numpy()
        assert value.dtype == expected.dtype and value.shape == expected.shape
        assert np.allclose(value, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_every_operator_has_a_case():
    assert {kind for kind, _, _ in CASES} | {"Constant"} == set(OPERATORS)


@pytest.mark.parametrize(
    "value", [{"value_float": 1.5}, {"value_ints": [1, 2]}, {"value": numpy_helper.from_array(FLOATS)}]
)
def test_a_constant_is_what_its_node_says(value):
    made = single("Constant", [], value, 17)
    (expected,) = ReferenceEvaluator(made).run(None, {})
    assert np.array_equal(TrainedGraph(made).run({}, ["out"], {})["out"].numpy(), expected)


def test_softmax_before_opset_13_goes_over_all_that_follows():
    made = single("Softmax", [FLOATS], {"axis": 1}, 11)
    found = TrainedGraph(made).run({"in0": torch.from_numpy(FLOATS)}, ["out"], {})["out"]
    assert found.sum(dim=(1, 2)).numpy() == pytest.approx([1, 1])


def test_an_unknown_operator_is_refused_by_its_name():
    with pytest.raises(RunFailed, match="no way back through NonMaxSuppression"):
        TrainedGraph(single("NonMaxSuppression", [FLOATS, FLOATS], {}, 17))


@pytest.mark.parametrize(
    ("kind", "arrays", "attributes", "words"),
    [
        ("GatherND", [FLOATS, ints([1], [0])], {"batch_dims": 1}, "GatherND with batch_dims"),
        ("Pad", [FLOATS, ints(0, 1, 0, 0, 0, 0)], {"mode": "edge"}, "Pad of another mode than constant"),
        ("Conv", [PICTURE, PICTURE[:, :, :3, :3]], {"auto_pad": "SAME_UPPER"}, "Conv with auto_pad"),
    ],
)
def test_a_form_of_an_operator_that_is_not_known_is_refused(kind, arrays, attributes, words):
    graph = TrainedGraph(single(kind, arrays, attributes, 17))
    with pytest.raises(RunFailed, match=f"no way back through {words}.*; set it to false"):
        graph.run({f"in{place}": torch.from_numpy(array) for place, array in enumerate(arrays)}, ["out"], {})


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_rounded_as_torch_rounds_them(per_channel, axis):
    weights = torch.from_numpy(FLOATS[0])
    found = rounding.of_weights(per_channel, axis)(weights)
    if per_channel:
        scales = weights.abs().amax(dim=1 - axis) / 127
        expected = torch.fake_quantize_per_channel_affine(
            weights, scales, torch.zeros(len(scales), dtype=torch.int32), axis, -127, 127
        )
    else:
        expected = torch.fake_quantize_per_tensor_affine(weights, float(weights.abs().max()) / 127, 0, -127, 127)
    assert torch.allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.5, 2.0), (-3.0, -1.0), (-0.2, 5.0)])
def test_activations_are_rounded_and_led_back_as_torch_does_it(low, high):
    values = torch.linspace(-4, 6, 200, requires_grad=True)
    found = rounding.static(low, high)(values)
    scale = (max(high, 0) - min(low, 0)) / 255
    zero = int(np.rint(np.float32(-min(low, 0)) / np.float32(scale)))
    expected = torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255)
    assert torch.allclose(found, expected, atol=1e-6)
    (own,) = torch.autograd.grad(found.sum(), values, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected.sum(), values)
    assert (own - theirs).abs().sum() <= 2, "at the two edges"


def test_dynamic_activations_have_the_range_of_the_batch():
    values = torch.tensor([[-1.0, 0.3], [2.0, 0.7]])
    assert torch.allclose(rounding.dynamic(values), rounding.static(-1.0, 2.0)(values))


WIDTH, COUNT = 8, 60


def layers(seed):
    """Two layers with a residual sum and normalization, and a table whose rows are looked up."""
    generator = np.random.default_rng(seed)
    weights = {
        "table": generator.standard_normal((50, WIDTH)),
        "w1": generator.standard_normal((WIDTH, WIDTH)) / 3,
        "b1": generator.standard_normal(WIDTH),
        "w2": generator.standard_normal((WIDTH, 3)),
        "scale": 1 + generator.standard_normal(WIDTH) / 10,
        "shift": generator.standard_normal(WIDTH) / 10,
        "half": np.array(0.5),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], "look_up"),
        helper.make_node("MatMul", ["rows", "w1"], ["product"], "first"),
        helper.make_node("Add", ["b1", "product"], ["biased"], "bias"),
        helper.make_node("Relu", ["biased"], ["active"], "relu"),
        helper.make_node("Add", ["active", "rows"], ["sum"], "residual"),
        helper.make_node("LayerNormalization", ["sum", "scale", "shift"], ["normal"], "norm"),
        helper.make_node("Mul", ["normal", "half"], ["halved"], "halve"),
        helper.make_node("MatMul", ["halved", "w2"], ["logits"], "second"),
    ]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", 3])],
        [numpy_helper.from_array(np.asarray(value, dtype=np.float32), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return onnx.shape_inference.infer_shapes(made)


def pupil():
    given, original = layers(1), ReferenceEvaluator(layers(0))
    ids = np.random.default_rng(2).integers(0, 50, (COUNT, 5))

    def batch(numbers):
        return {"input_ids": ids[list(numbers)], "attention_mask": np.ones((len(numbers), 5), dtype=np.int64)}

    def answers(arrays):
        return {"logits": original.run(None, {"input_ids": arrays["input_ids"]})[0]}

    rounded = {name: (rounding.dynamic, rounding.of_weights(True, 1)) for name in ("first", "second")}
    return Pupil(TrainedGraph(given), rounded, ["logits"], [], "categorical", answers, batch, [5] * COUNT)


def test_weights_are_known_by_what_reads_them():
    assert set(TrainedGraph(layers(0)).weights) == {"w1", "b1", "w2", "scale", "shift"}


def test_it_learns_what_the_original_gives(tmp_path):
    told, learner = [], pupil()
    found = distill(learner, 2.0, 0.01, 0, tmp_path / "state.pt", told.append)
    assert found.best < 0.5 * found.before[0]
    assert sum(told) == pytest.approx(2.0)
    apart, learned = training._parts(COUNT, 0)
    assert training.missed_by(learner, apart)[0] == pytest.approx(found.best), "the best weights stay"
    assert not set(apart) & set(learned) and set(apart) | set(learned) == set(range(COUNT))


def test_a_rate_that_ruins_all_leaves_the_weights_as_they_were(tmp_path):
    learner = pupil()
    before = {name: value.detach().clone() for name, value in learner.graph.weights.items()}
    found = distill(learner, 0.3, 0.9, 0, tmp_path / "state.pt", lambda _: None)
    if found.best == found.before[0]:
        assert all(torch.equal(value, before[name]) for name, value in learner.graph.weights.items())
    assert found.best <= found.before[0]


def test_an_interrupted_training_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVED_EVERY", 0.0)
    steps = 0

    def stop(_):
        nonlocal steps
        steps += 1
        if steps == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(pupil(), 60.0, 0.01, 0, tmp_path / "state.pt", stop)
    kept = training.Progress.read(tmp_path / "state.pt")
    assert kept.steps and kept.seconds > 0 and set(kept.weights) == {"w1", "b1", "w2", "scale", "shift"}
    told = []
    found = distill(pupil(), kept.seconds + 0.05, 0.01, 0, tmp_path / "state.pt", told.append)
    assert told[0] == pytest.approx(kept.seconds)
    assert found.steps > kept.steps and found.before == kept.before


def test_a_damaged_state_is_a_beginning(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"half of a fi")
    assert training.Progress.read(tmp_path / "state.pt").steps == 0


def test_batches_go_on_from_a_step():
    lengths = np.random.default_rng(0).integers(3, 90, 50).tolist()
    whole, later = (training._batches(lengths, range(50), 3, begun) for begun in (0, 5))
    first = [next(whole) for _ in range(12)]
    assert [next(later) for _ in range(7)] == first[5:]
    assert sorted(place for batch in first[:4] for place in batch) == list(range(50))


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
def test_nothing_is_missed_by_the_same_and_something_by_others(likelihood):
    values = torch.from_numpy(FLOATS)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert float(training._apart(likelihood, values, values, mask)) == pytest.approx(0, abs=1e-6)
    padded = values + torch.tensor([[0.0, 0, 5], [0, 5, 5]])[..., None] * torch.arange(4)
    assert float(training._apart(likelihood, values, padded, mask)) == pytest.approx(0, abs=1e-6), (
        "padding is passed over"
    )
    assert float(training._apart(likelihood, values, values.flip(-1), mask)) > 0.01

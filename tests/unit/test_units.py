"""Neurons and heads of graphs, found by the form of their layers and cut one by one."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from quantbench.graph import edit
from quantbench.graph.units import cut
from quantbench.graph.units import find as find_in
from quantbench.graph.view import Graph

WIDTH, NEURONS = 4, 12
HEADS, SIZE = 6, 3


def constant(name, *shape):
    generator = np.random.default_rng([*name.encode()])
    return numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)


def model(nodes, constants, output="y", outputs=(), axes=("batch", "length", WIDTH), opset=17):
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (output, *outputs)],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return onnx.shape_inference.infer_shapes(made, data_prop=True)


def node(kind, inputs, outputs, **attributes):
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)


def gelu():
    """As exporters write it: the inner tensor is read twice."""
    return [
        node("MatMul", ["x", "up"], "inner"),
        node("Add", ["bias", "inner"], "biased"),
        node("Div", ["biased", "root"], "scaled"),
        node("Erf", ["scaled"], "erf"),
        node("Add", ["erf", "one"], "more"),
        node("Mul", ["biased", "more"], "active"),
        node("MatMul", ["active", "down"], "back"),
        node("Add", ["back", "out_bias"], "y"),
    ], [
        constant("up", WIDTH, NEURONS),
        constant("bias", NEURONS),
        constant("down", NEURONS, WIDTH),
        constant("out_bias", WIDTH),
        numpy_helper.from_array(np.array(1.4142135, dtype=np.float32), "root"),
        numpy_helper.from_array(np.array([1.0], dtype=np.float32), "one"),
    ]


def gated_by_one_product():
    """Activation and gate of one product that is twice as wide."""
    return [
        node("MatMul", ["x", "up"], "inner"),
        node("Add", ["inner", "bias"], "biased"),
        node("Split", ["biased", "sizes"], ["left", "right"], axis=-1),
        node("Tanh", ["left"], "active"),
        node("Mul", ["active", "right"], "gated"),
        node("MatMul", ["gated", "down"], "y"),
    ], [
        constant("up", WIDTH, 2 * NEURONS),
        constant("bias", 2 * NEURONS),
        constant("down", NEURONS, WIDTH),
        numpy_helper.from_array(np.array([NEURONS, NEURONS], dtype=np.int64), "sizes"),
    ]


def gated_by_two_products():
    return [
        node("MatMul", ["x", "up"], "inner"),
        node("MatMul", ["x", "gate"], "opening"),
        node("Sigmoid", ["opening"], "open"),
        node("Mul", ["inner", "open"], "gated"),
        node("MatMul", ["gated", "down"], "y"),
    ], [constant("up", WIDTH, NEURONS), constant("gate", WIDTH, NEURONS), constant("down", NEURONS, WIDTH)]


FORMS = {"gelu": gelu, "one product": gated_by_one_product, "two products": gated_by_two_products}


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def attention(split_at=-1, merged_to=-1):
    """As exporters write it; heads are split off and merged by Reshapes."""
    nodes = []
    for part, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", ["x", f"{part}_weight"], f"{part}_flat"),
            node("Add", [f"{part}_flat", f"{part}_bias"], f"{part}_biased"),
            node("Reshape", [f"{part}_biased", "target"], f"{part}_split"),
            node("Transpose", [f"{part}_split"], f"{part}_heads", perm=perm),
        ]
    nodes += [
        node("MatMul", ["q_heads", "k_heads"], "scores"),
        node("Div", ["scores", "root"], "scaled"),
        node("Softmax", ["scaled"], "shares", axis=-1),
        node("MatMul", ["shares", "v_heads"], "context"),
        node("Transpose", ["context"], "back", perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "whole"], "flat"),
        node("MatMul", ["flat", "down"], "y"),
    ]
    constants = [
        *(constant(f"{part}_weight", WIDTH, HEADS * SIZE) for part in "qkv"),
        *(constant(f"{part}_bias", HEADS * SIZE) for part in "qkv"),
        constant("down", HEADS * SIZE, WIDTH),
        numpy_helper.from_array(np.array(1.7, dtype=np.float32), "root"),
        *(numbers("target", 0, 0, split_at, SIZE), numbers("whole", 0, 0, merged_to)),
    ]
    return nodes, constants


def output(made, length=5):
    x = np.random.default_rng(1).normal(size=(2, length, WIDTH)).astype(np.float32)
    return ReferenceEvaluator(made).run(None, {"x": x})[0]


def find(graph):
    """With the shapes of two runs."""
    runs = []
    for batch, length in ((3, 11), (5, 17)):
        every = edit.copy(graph.model)
        names = [name for item in every.graph.node for name in item.output]
        del every.graph.output[:]
        every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        axes = graph.model.graph.input[0].type.tensor_type.shape.dim
        given = {"x": np.ones((batch, length, WIDTH)[-len(axes) :], dtype=np.float32)}
        found = ReferenceEvaluator(every).run(None, given)
        runs.append({**dict(zip(names, map(np.shape, found), strict=True)), "x": given["x"].shape})
    return find_in(graph, runs)


def without(made, taken):
    """The model with rows of zeros for what is taken: what a cut one is to give."""
    changed = onnx.ModelProto()
    changed.CopyFrom(made)
    (down,) = (item for item in changed.graph.initializer if item.name == "down")
    values = numpy_helper.to_array(down).copy()
    values[list(taken)] = 0
    down.CopyFrom(numpy_helper.from_array(values, "down"))
    return changed


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15, deadline=None)
@given(stay=st.sets(st.integers(0, NEURONS - 1), min_size=1))
def test_a_cut_layer_gives_what_the_whole_one_gives_without_these_neurons(form, stay):
    made = model(*FORMS[form]())
    (layer,) = find(graph := Graph(made))
    assert (layer.inner, layer.count, layer.kind) == (graph.node(layer.name).input[0], NEURONS, "ffn")
    kept = np.array(sorted(stay))
    shorter = cut(made, layer, kept, layer.matrix(graph)[kept])
    onnx.checker.check_model(shorter, full_check=True)
    expected = output(without(made, set(range(NEURONS)) - stay))
    np.testing.assert_allclose(output(shorter), expected, rtol=1e-5, atol=1e-5)
    sizes = [np.prod(item.dims) for item in shorter.graph.initializer]
    assert sum(sizes) < sum(np.prod(item.dims) for item in made.graph.initializer) or len(stay) == NEURONS


@pytest.mark.parametrize("split_at", [-1, HEADS])
@pytest.mark.parametrize("merged_to", [-1, HEADS * SIZE])
@settings(max_examples=8, deadline=None)
@given(stay=st.sets(st.integers(0, HEADS - 1), min_size=1))
def test_cut_heads_give_what_all_give_without_these(split_at, merged_to, stay):
    made = model(*attention(split_at, merged_to))
    (layer,) = find(graph := Graph(made))
    assert (layer.inner, layer.count, layer.size, layer.kind) == ("flat", HEADS, SIZE, "heads")
    kept = np.array(sorted(stay))
    shorter = cut(made, layer, kept, layer.matrix(graph)[layer.values(kept)])
    onnx.checker.check_model(shorter, full_check=True)
    taken = layer.values(np.array(sorted(set(range(HEADS)) - stay), dtype=int))
    np.testing.assert_allclose(output(shorter), output(without(made, taken)), rtol=1e-5, atol=1e-5)


def test_what_a_head_costs():
    (layer,) = find(graph := Graph(model(*attention())))
    assert layer.multiplications(graph) == 4 * WIDTH * SIZE


def test_what_a_neuron_costs():
    costs = {}
    for name, form in FORMS.items():
        graph = Graph(model(*form()))
        (layer,) = find(graph)
        costs[name] = layer.multiplications(graph)
    assert costs == {"gelu": 2 * WIDTH, "one product": 3 * WIDTH, "two products": 3 * WIDTH}


def test_below_opset_13_sizes_stand_in_an_attribute():
    nodes, constants = gated_by_one_product()
    nodes[2] = node("Split", ["biased"], ["left", "right"], axis=2, split=[NEURONS, NEURONS])
    made = model(nodes, constants[:-1], opset=12)
    (layer,) = find(graph := Graph(made))
    kept = np.arange(0, NEURONS, 2)
    shorter = cut(made, layer, kept, layer.matrix(graph)[kept])
    expected = output(without(made, range(1, NEURONS, 2)))
    np.testing.assert_allclose(output(shorter), expected, rtol=1e-5, atol=1e-5)


def test_a_head_that_is_computed_once_for_a_whole_input_is_left_alone():
    nodes, constants = gelu()
    assert not find(Graph(model(nodes, constants, axes=("batch", WIDTH))))


def changed(change):
    nodes, constants = gelu()
    return change(nodes, constants) or (nodes, constants)


def read_elsewhere(nodes, constants):
    nodes.append(node("Relu", ["biased"], "z"))


def normalized(nodes, constants):
    nodes[3] = node("Softmax", ["scaled"], "erf", axis=-1)


def shared(nodes, constants):
    nodes[-1] = node("Add", ["back", "out_bias"], "between")
    again = [
        node("MatMul", ["between", "up"], "inner2"),
        node("Tanh", ["inner2"], "active2"),
        node("MatMul", ["active2", "down"], "y"),
    ]
    nodes += again


def from_outside(nodes, constants):
    nodes[5] = node("Mul", ["wide", "more"], "active")
    nodes.insert(0, node("Concat", ["x", "x", "x"], "wide", axis=-1))


@pytest.mark.parametrize("change", [read_elsewhere, normalized, shared, from_outside])
def test_what_has_another_form_is_left_alone(change):
    nodes, constants = changed(change)
    made = model(nodes, constants, outputs=["z"] if change is read_elsewhere else [])
    assert not find(Graph(made))


def test_an_output_of_the_model_stays_as_wide_as_it_is():
    nodes, constants = gelu()
    assert not find(Graph(model(nodes, constants, outputs=["active"])))

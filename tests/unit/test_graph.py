"""Look-ups in a graph, and the hash of what it computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper

from quantbench.graph import edit
from quantbench.graph.fingerprint import computation_hash
from quantbench.graph.view import Graph


def small_model() -> onnx.ModelProto:
    """Two branches that meet, with constants of every kind, optional inputs and outputs left out, and a long name."""
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2), "value")),
        helper.make_node("Constant", [], ["three"], value_float=3.0),
        helper.make_node("ConstantOfShape", ["shape"], ["filled"], value=numpy_helper.from_array(np.float32([4]), "v")),
        helper.make_node("MatMul", ["x", "weight"], ["left"], "/layer/MatMul"),
        helper.make_node("Mul", ["x", "two"], ["right"], "/layer/Mul"),
        helper.make_node("Dropout", ["right"], ["kept", ""], "/layer/Dropout"),
        helper.make_node("Clip", ["left", "", "three"], ["clipped"], "/layer/Clip"),
        helper.make_node("Concat", ["clipped", "kept", "filled"], ["joined"], "/layer/Concat", axis=0),
        helper.make_node("Softmax", ["joined"], ["y"], "/layer/Softmax", axis=1, doc_string="attention"),
        helper.make_node("Mul", ["right", "right"], ["z"], "/layer/Square"),
    ]
    weight = np.arange(16, dtype=np.float32).reshape(4, 4)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4]) for name in ("y", "z")],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.int64([1, 4]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model)


HASH = computation_hash(small_model())


def node(model: onnx.ModelProto, name: str) -> NodeProto:
    return next(n for n in model.graph.node if n.name == f"/layer/{name}")


@st.composite
def topological_orders(draw: st.DrawFn) -> list[int]:
    """Orders of the nodes in which every node stands behind those that it reads."""
    nodes = list(small_model().graph.node)
    made = {"x", "weight", "shape", ""}
    order: list[int] = []
    while len(order) < len(nodes):
        ready = [i for i, n in enumerate(nodes) if i not in order and made.issuperset(n.input)]
        order.append(draw(st.sampled_from(ready)))
        made.update(nodes[order[-1]].output)
    return order


@given(topological_orders())
def test_the_order_of_nodes_and_constants_does_not_count(order):
    model = small_model()
    nodes = [NodeProto.FromString(model.graph.node[i].SerializeToString()) for i in order]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    constants = list(model.graph.initializer)[::-1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    onnx.checker.check_model(model)
    assert computation_hash(model) == HASH


@given(st.permutations([f"/renamed/{i}" for i in range(40)]))
def test_names_do_not_count(names):
    model, fresh = small_model(), iter(names)
    renamed: dict[str, str] = {"": "", "x": "x"}

    def new(name: str) -> str:
        if name not in renamed:
            renamed[name] = next(fresh)
        return renamed[name]

    for item in [*model.graph.initializer, *model.graph.output]:
        item.name = new(item.name)
    for each in model.graph.node:
        each.name = next(fresh)
        each.doc_string = each.name
        each.input[:] = [new(name) for name in each.input]
        each.output[:] = [new(name) for name in each.output]
        for attribute in each.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                attribute.t.name = each.name
            attribute.doc_string = each.name
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    assert computation_hash(model) == HASH


@given(st.permutations(["axis", "keepdims"]))
def test_the_order_of_attributes_does_not_count(order):
    reduction = helper.make_node("ReduceMax", ["x"], ["y"])
    values = {"axis": helper.make_attribute("axes", [0]), "keepdims": helper.make_attribute("keepdims", 0)}
    reduction.attribute.extend(values[name] for name in order)
    assert computation_hash(one_node(reduction)) == computation_hash(
        one_node(helper.make_node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=0))
    )


def one_node(only: NodeProto, *constants: TensorProto) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    return helper.make_model(helper.make_graph([only], "one", values[:1], values[1:], constants))


def test_how_a_constant_is_stored_does_not_count():
    as_node, raw = small_model(), small_model()
    as_node.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    del as_node.graph.node[0]
    weight = raw.graph.initializer[0]
    values = numpy_helper.to_array(weight).reshape(-1)
    weight.ClearField("raw_data")
    weight.float_data.extend(values)
    assert computation_hash(as_node) == computation_hash(raw) == HASH


def change_a_weight(model: onnx.ModelProto) -> None:
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[3, 2] = np.nextafter(weight[3, 2], np.float32(np.inf))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))


def change_a_constant(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(np.float32(5), "value"))


def change_a_constant_float(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute[0].f = 5


def change_a_fill_value(model: onnx.ModelProto) -> None:
    model.graph.node[2].attribute[0].t.CopyFrom(numpy_helper.from_array(np.float32([5]), "v"))


def change_an_attribute(model: onnx.ModelProto) -> None:
    node(model, "Softmax").attribute[0].i = 0


def remove_an_attribute(model: onnx.ModelProto) -> None:
    del node(model, "Softmax").attribute[:]


def change_an_operator(model: onnx.ModelProto) -> None:
    node(model, "Mul").op_type = "Add"


def change_a_domain(model: onnx.ModelProto) -> None:
    node(model, "Mul").domain = "com.microsoft"


def change_an_edge(model: onnx.ModelProto) -> None:
    node(model, "Concat").input[0] = "left"


def swap_inputs(model: onnx.ModelProto) -> None:
    node(model, "Concat").input[:2] = ["kept", "clipped"]


def give_another_optional_input(model: onnx.ModelProto) -> None:
    node(model, "Clip").input[:] = ["left", "three"]


def swap_outputs(model: onnx.ModelProto) -> None:
    outputs = list(model.graph.output)[::-1]
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def rename_the_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "other"
    for each in model.graph.node:
        each.input[:] = ["other" if name == "x" else name for name in each.input]


def change_the_shape_of_a_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2, 8]


@pytest.mark.parametrize(
    "change",
    [
        change_a_weight,
        change_a_constant,
        change_a_constant_float,
        change_a_fill_value,
        change_an_attribute,
        remove_an_attribute,
        change_an_operator,
        change_a_domain,
        change_an_edge,
        swap_inputs,
        give_another_optional_input,
        swap_outputs,
        rename_the_input,
        change_the_shape_of_a_weight,
    ],
)
def test_what_is_computed_counts(change):
    model = small_model()
    change(model)
    assert computation_hash(model) != HASH


def test_what_nobody_reads_does_not_count():
    model = small_model()
    model.graph.node.append(helper.make_node("Relu", ["left"], ["unread"]))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(9), "unread_too"))
    model.producer_name = "somebody"
    assert computation_hash(model) == HASH


def test_look_ups():
    model = small_model()
    graph = Graph(model)
    matmul, square = node(model, "MatMul"), node(model, "Square")
    assert graph.producer("left") is not None and graph.producer("left").name == matmul.name
    assert graph.producer("x") is None and graph.producer("weight") is None
    assert [reader.name for reader in graph.consumers(matmul)] == ["/layer/Clip"]
    assert {reader.name for reader in graph.consumers(node(model, "Mul"))} == {"/layer/Dropout", "/layer/Square"}
    assert graph.consumers(square) == []
    assert graph.consumers(node(model, "Dropout")) == [node(model, "Concat")]
    assert [n.name for n in graph.of_type("Mul", "Clip")] == ["/layer/Mul", "/layer/Clip", "/layer/Square"]


def test_constants():
    graph = Graph(small_model())
    assert [name for name in ("x", "weight", "two", "three", "left", "") if graph.is_constant(name)] == [
        "weight",
        "two",
        "three",
    ]
    assert (graph.scalar("two"), graph.scalar("weight"), graph.scalar("x"), graph.scalar("left")) == (
        2,
        None,
        None,
        None,
    )
    assert graph.scalar("three") == 3
    assert graph.variable_inputs(node(graph.model, "Clip")) == ["left"]
    assert graph.variable_inputs(node(graph.model, "Mul")) == ["x"]


def test_floats():
    graph = Graph(small_model())
    assert [name for name in ("x", "weight", "shape", "left", "y", "nowhere") if graph.is_float(name)] == [
        "x",
        "weight",
        "left",
        "y",
    ]


def test_text_is_no_scalar():
    text = helper.make_node("Constant", [], ["t"], value_string="two")
    graph = Graph(one_node(text))
    assert graph.is_constant("t") and graph.scalar("t") is None


def test_read_is_the_file(tmp_path):
    onnx.save(small_model(), tmp_path / "model.onnx")
    graph = Graph.read(tmp_path / "model.onnx")
    assert [n.op_type for n in graph.nodes] == [n.op_type for n in small_model().graph.node]


def test_other_outputs_leave_the_model_as_it_was():
    model = small_model()
    changed = edit.with_outputs(model, ["left", "right"])
    assert [item.name for item in changed.graph.output] == ["left", "right"]
    assert computation_hash(model) == HASH


def test_what_no_output_depends_on_is_removed_with_its_initializers():
    model = edit.with_outputs(small_model(), ["right"])
    edit.remove_unread(model)
    assert [item.op_type for item in model.graph.node] == ["Constant", "Mul"]
    assert not model.graph.initializer
    everything = small_model()
    edit.remove_unread(everything)
    assert everything == small_model()


def test_a_node_is_found_by_its_name():
    assert Graph(small_model()).node("/layer/Clip").op_type == "Clip"
    with pytest.raises(KeyError):
        Graph(small_model()).node("/layer/Relu")

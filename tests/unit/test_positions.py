"""Only what is read: the same outputs at every batch size and length, from products of one position."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from quantbench.graph.positions import narrowed

HEADS, SIZE, WIDTH, LABELS = 2, 3, 6, 4
RUNS = ((3, 11), (5, 17))


def initializer(name, *shape, seed=0):
    generator = np.random.default_rng([seed, *name.encode()])
    return numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)


def whole(name, values):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def layer(tensor, number, shape_of="batch_length"):
    """Nodes of an encoder layer with residual connections, after its input; the name of what it gives."""
    name = f"l{number}"
    heads = lambda part, perm: [  # noqa: E731
        helper.make_node("MatMul", [tensor, f"{name}_{part}"], [f"{name}_{part}_flat"]),
        helper.make_node("Concat", [shape_of, "heads"], [f"{name}_{part}_shape"], axis=0),
        helper.make_node("Reshape", [f"{name}_{part}_flat", f"{name}_{part}_shape"], [f"{name}_{part}_split"]),
        helper.make_node("Transpose", [f"{name}_{part}_split"], [f"{name}_{part}_heads"], perm=perm),
    ]
    nodes = [*heads("q", [0, 2, 1, 3]), *heads("k", [0, 2, 3, 1]), *heads("v", [0, 2, 1, 3])]
    nodes += [
        helper.make_node("MatMul", [f"{name}_q_heads", f"{name}_k_heads"], [f"{name}_scores"]),
        helper.make_node("Add", [f"{name}_scores", "bias"], [f"{name}_masked"]),
        helper.make_node("Softmax", [f"{name}_masked"], [f"{name}_shares"], axis=-1),
        helper.make_node("MatMul", [f"{name}_shares", f"{name}_v_heads"], [f"{name}_context"]),
        helper.make_node("Transpose", [f"{name}_context"], [f"{name}_back"], perm=[0, 2, 1, 3]),
        helper.make_node("Concat", [shape_of, "width"], [f"{name}_flat_shape"], axis=0),
        helper.make_node("Reshape", [f"{name}_back", f"{name}_flat_shape"], [f"{name}_joined"]),
        helper.make_node("Add", [f"{name}_joined", tensor], [f"{name}_sum"]),
        helper.make_node("LayerNormalization", [f"{name}_sum", "scale"], [f"{name}_normal"], axis=-1),
        helper.make_node("MatMul", [f"{name}_normal", f"{name}_up"], [f"{name}_inner"]),
        helper.make_node("Tanh", [f"{name}_inner"], [f"{name}_active"]),
        helper.make_node("MatMul", [f"{name}_active", f"{name}_down"], [f"{name}_down_out"]),
        helper.make_node("Add", [f"{name}_down_out", f"{name}_normal"], [f"{name}_out"]),
    ]
    weights = [initializer(f"{name}_{part}", WIDTH, WIDTH) for part in "qkv"]
    weights += [initializer(f"{name}_up", WIDTH, 2 * WIDTH), initializer(f"{name}_down", 2 * WIDTH, WIDTH)]
    return nodes, weights, f"{name}_out"


def encoder(layers, head):
    """A model of so many layers; ``head`` gives nodes, initializers and outputs from the name of the last tensor.
    Outputs are given with their number of axes.
    """
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two", "zero"], ["batch_length"]),
        helper.make_node("Unsqueeze", ["mask", "middle"], ["bias"]),
    ]
    weights = [whole("zero", [0]), whole("two", [2]), whole("middle", [1, 2]), whole("heads", [HEADS, SIZE])]
    weights += [whole("width", [WIDTH]), initializer("scale", WIDTH)]
    tensor = "x"
    for number in range(layers):
        made, own, tensor = layer(tensor, number)
        nodes, weights = nodes + made, weights + own
    made, own, outputs = head(tensor)
    graph = helper.make_graph(
        [*nodes, *made],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", WIDTH]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", "length"]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name, rank in outputs.items()],
        [*weights, *own],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def first(tensor, index=0):
    """A classifier that reads one token."""
    nodes = [
        helper.make_node("Gather", [tensor, "index"], ["one"], axis=1),
        helper.make_node("MatMul", ["one", "classes"], ["logits"]),
    ]
    own = [numpy_helper.from_array(np.array(index, dtype=np.int64), "index"), initializer("classes", WIDTH, LABELS)]
    return nodes, own, {"logits": 2}


def last(tensor):
    return first(tensor, -1)


def every(tensor):
    """A tagger."""
    return (
        [helper.make_node("MatMul", [tensor, "classes"], ["logits"])],
        [initializer("classes", WIDTH, LABELS)],
        {"logits": 3},
    )


def two(tensor):
    """Reads two tokens."""
    nodes, own, _ = first(tensor)
    more = helper.make_node("Gather", [tensor, "other"], ["another"], axis=1)
    other = numpy_helper.from_array(np.array(-1, dtype=np.int64), "other")
    return [*nodes, more], [*own, other], {"logits": 2, "another": 2}


def inputs(batch, length, seed=0):
    generator = np.random.default_rng([seed, batch, length])
    mask = np.where(generator.random((batch, length)) < 0.2, -1e4, 0).astype(np.float32)
    return {"x": generator.normal(size=(batch, length, WIDTH)).astype(np.float32), "mask": mask}


def shapes(model, batch, length):
    names = [name for node in model.graph.node for name in node.output]
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.output[:]
    copied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    given = inputs(batch, length)
    found = ReferenceEvaluator(copied).run(names, given)
    return {**dict(zip(names, map(np.shape, found), strict=True)), **{k: v.shape for k, v in given.items()}}


def narrow(model):
    return narrowed(model, [shapes(model, *run) for run in RUNS])


def run(model, given):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)


def sizes(model, batch=2, length=9):
    """Values of every product's output."""
    found = shapes(model, batch, length)
    return {
        node.output[0]: int(np.prod(found[node.output[0]])) for node in model.graph.node if node.op_type == "MatMul"
    }


@pytest.mark.parametrize("head", [first, last])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_outputs_are_the_same_at_every_batch_size_and_length(head, layers):
    model = encoder(layers, head)
    found = narrow(model)
    onnx.checker.check_model(found, full_check=True)
    for batch, length in ((1, 1), (1, 7), (4, 2), (3, 40)):
        given = inputs(batch, length, seed=1)
        for one, other in zip(run(model, given), run(found, given), strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)


def test_of_the_last_layer_only_keys_and_values_are_of_all_tokens():
    model = encoder(2, first)
    before, after = sizes(model), sizes(narrow(model))
    saved = {name for name, size in after.items() if size < before[name]}
    assert saved == {f"l1_{part}" for part in ("q_flat", "scores", "context", "inner", "down_out")}
    assert all(after[name] * 9 == before[name] for name in saved)
    assert before.keys() == after.keys()


@pytest.mark.parametrize("head", [every, two])
def test_where_more_is_read_nothing_changes(head):
    assert narrow(encoder(2, head)) is None


def test_the_model_that_was_given_is_left_alone():
    model = encoder(1, first)
    before = model.SerializeToString(deterministic=True)
    narrow(model)
    assert model.SerializeToString(deterministic=True) == before

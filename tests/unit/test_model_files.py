"""Why a model file cannot be loaded, as its bytes tell, what belongs to it, and what is quantized in it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantbench.graph.view import Graph
from quantbench.quantize.contents import contents
from quantbench.sources import model_files

ENDINGS = (".onnx", ".xml")
IR = '<net><layer type="Const"><data element_type="f32" offset="0" shape="2" size="{size}"/></layer></net>'


def product(weight, **more):
    """A graph of one product with constant weights."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])
    nodes = more.get("nodes") or [helper.make_node("MatMul", ["x", "w"], ["y"])]
    constants = [
        numpy_helper.from_array(array, name) for name, array in {"w": weight, **more.get("others", {})}.items()
    ]
    graph = helper.make_graph(nodes, "g", [given], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.onnx", b"", "is empty"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.onnx", b"no model", "is damaged, or no .onnx file"),
        ("a.xml", b"<html></html>", "there is no network in it"),
        ("a.xml", IR.format(size=8).encode(), "has its weights in a.bin, which is not beside it"),
        ("a.pb", b"x", "is a file of TensorFlow; .onnx and .xml files can be loaded"),
        ("a.safetensors", b"x", "is a file of safetensors"),
        ("a.csv", b"x", "is no model file by its ending"),
    ],
)
def test_bytes_that_cannot_be_loaded_are_told(name, content, told, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert told in model_files.unloadable(tmp_path / name, ENDINGS)


def test_weights_beside_a_file_belong_to_it(tmp_path):
    path, weights = tmp_path / "a.onnx", tmp_path / "a.onnx_data"
    model = product(np.ones((4, 4), dtype=np.float32))
    onnx.save(model, path, save_as_external_data=True, location=weights.name, size_threshold=0)
    assert model_files.unloadable(path, ENDINGS) is None
    assert model_files.files(path) == [path, weights]
    known = model_files.fingerprint(path)
    weights.write_bytes(b"\0" * 64)
    assert model_files.fingerprint(path) != known
    weights.write_bytes(b"\0" * 63)
    assert model_files.unloadable(path, ENDINGS) == "has its weights in a.onnx_data, which is cut off: 63 of 64 bytes"
    weights.unlink()
    assert "which is not beside it" in model_files.unloadable(path, ENDINGS)


def test_an_ir_is_two_files(tmp_path):
    (tmp_path / "a.xml").write_text(IR.format(size=8))
    (tmp_path / "a.bin").write_bytes(b"\0" * 8)
    assert model_files.unloadable(tmp_path / "a.xml", ENDINGS) is None
    assert model_files.files(tmp_path / "a.xml") == [tmp_path / "a.xml", tmp_path / "a.bin"]


def test_what_a_file_holds_is_told_by_kind():
    plain = contents(Graph(product(np.ones((4, 4), dtype=np.float32))))
    assert (plain.operators, plain.stored, plain.ranges, plain.dynamic) == ({}, {}, 0, False)
    assert plain.weights == {"float32": 64}
    scale = {"s": np.float32(0.1)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["wf"]),
        helper.make_node("MatMul", ["x", "wf"], ["y"]),
    ]
    alone = contents(Graph(product(np.ones((4, 4), dtype=np.int8), nodes=nodes, others=scale)))
    assert (alone.operators, alone.stored, alone.weights["int8"]) == ({}, {"MatMul": 1}, 16)
    rounding = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        nodes[0],
        helper.make_node("MatMul", ["xd", "wf"], ["y"]),
    ]
    fixed = contents(Graph(product(np.ones((4, 4), dtype=np.int8), nodes=rounding, others={**scale, "z": np.uint8(3)})))
    assert (fixed.operators, fixed.stored, fixed.ranges) == ({"MatMul": 1}, {}, 1)
    found = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz"], ["yi"]),
        helper.make_node("Cast", ["yi"], ["y"], to=TensorProto.FLOAT),
    ]
    dynamic = contents(Graph(product(np.ones((4, 4), dtype=np.int8), nodes=found)))
    assert (dynamic.operators, dynamic.dynamic) == ({"MatMul": 1}, True)

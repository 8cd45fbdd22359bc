"""Models whose weights do not fit into one file: written apart, read where they lie, the same in every other way."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from quantbench.graph import external
from quantbench.graph.edit import set_outputs
from quantbench.graph.fingerprint import computation_hash
from quantbench.graph.view import Graph
from quantbench.quantize import sessions
from quantbench.system import onnx_files
from quantbench.system.files import content_sha256

WIDTH = 40
KINDS = (np.float32, np.float16, np.int8, np.uint8, np.int64, np.bool_)


@pytest.fixture
def apart(monkeypatch):
    """Weights of more than 2,000 bytes get a file of their own."""
    monkeypatch.setattr(onnx_files, "LARGEST", 2000)


def model(seed=0):
    """Two products with constant weights, whose sum with a small bias is the output."""
    generator = np.random.default_rng(seed)
    weights = {name: generator.normal(size=(WIDTH, WIDTH)).astype(np.float32) for name in ("first", "second")}
    bias = generator.normal(size=WIDTH).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["h"]),
            helper.make_node("MatMul", ["h", "second"], ["k"]),
            helper.make_node("Add", ["k", "bias"], ["y"]),
        ],
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in {**weights, "bias": bias}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outputs(path_or_session, x):
    if not hasattr(path_or_session, "run"):
        path_or_session = onnxruntime.InferenceSession(str(path_or_session), providers=["CPUExecutionProvider"])
    return path_or_session.run(None, {"x": x})[0]


def test_a_small_model_is_one_file(tmp_path):
    path = tmp_path / "model.onnx"
    onnx_files.write(model(), path)
    assert onnx_files.files(path) == (path,)
    assert path.read_bytes() == model().SerializeToString(deterministic=True)
    assert content_sha256(onnx_files.files(path)) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_one_is_two_that_every_reader_knows(tmp_path, apart):
    path, x = tmp_path / "model.onnx", np.ones((3, WIDTH), np.float32)
    onnx_files.write(model(), path)
    assert [file.name for file in onnx_files.files(path)] == ["model.onnx", "model.onnx_data"]
    assert path.stat().st_size < 1000, "weights are elsewhere"
    for mine, theirs in zip(onnx.load(str(path)).graph.initializer, model().graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(theirs))
    onnx.checker.check_model(str(path))
    plain = tmp_path / "plain.onnx"
    onnx.save(model(), str(plain))
    np.testing.assert_array_equal(outputs(path, x), outputs(plain, x))


def test_equal_models_write_equal_files(tmp_path, apart):
    found = []
    for name in ("a", "b"):
        path = tmp_path / name / "model.onnx"
        onnx_files.write(model(), path)
        found.append(content_sha256(onnx_files.files(path)))
    onnx_files.write(model(seed=1), tmp_path / "c" / "model.onnx")
    assert found[0] == found[1] != content_sha256(onnx_files.files(tmp_path / "c" / "model.onnx"))


def test_a_change_of_the_weights_alone_changes_the_hash(tmp_path, apart):
    path = tmp_path / "model.onnx"
    onnx_files.write(model(), path)
    before = content_sha256(onnx_files.files(path))
    data = path.with_name("model.onnx_data")
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)
    assert content_sha256(onnx_files.files(path)) != before


def test_what_is_read_computes_the_same(tmp_path, apart):
    path = tmp_path / "model.onnx"
    onnx_files.write(model(), path)
    read = external.read(path)
    assert read.ByteSize() < 1500, "weights stay where they are"
    assert computation_hash(read) == computation_hash(model())
    graph, plain = Graph.read(path), Graph(model())
    for name in ("first", "second", "bias"):
        assert graph.is_constant(name) and graph.is_float(name)
        np.testing.assert_array_equal(graph.array(name), plain.array(name))


def test_a_session_of_other_outputs_finds_the_weights(tmp_path, apart, monkeypatch):
    path, x = tmp_path / "model.onnx", np.ones((2, WIDTH), np.float32)
    onnx_files.write(model(), path)
    read = external.read(path)
    set_outputs(read, ["h"])
    monkeypatch.chdir(tmp_path.parent)
    session = sessions.session(sessions.serialized(read), onnxruntime.SessionOptions())
    np.testing.assert_allclose(outputs(session, x), x @ Graph(model()).array("first"), rtol=1e-5)
    assert external.facts(external.outside(read)[0])["location"] == str(path.with_name("model.onnx_data"))


def test_weights_go_along_to_another_file_and_back_into_one(tmp_path, apart, monkeypatch):
    first, second, x = tmp_path / "a" / "model.onnx", tmp_path / "b" / "other.onnx", np.ones((1, WIDTH), np.float32)
    onnx_files.write(model(), first)
    onnx_files.write(external.read(first), second)
    assert second.with_name("other.onnx_data").read_bytes() == first.with_name("model.onnx_data").read_bytes()
    wanted = outputs(first, x)
    np.testing.assert_array_equal(outputs(second, x), wanted)
    read = external.read(first)
    monkeypatch.setattr(onnx_files, "LARGEST", 1 << 20)
    onnx_files.write(read, first)
    assert onnx_files.files(first) == (first,), "no weights of earlier stay beside it"
    np.testing.assert_array_equal(outputs(first, x), wanted)
    assert first.read_bytes() == model().SerializeToString(deterministic=True)


def test_small_weights_that_lay_outside_come_back_into_the_graph(tmp_path, apart, monkeypatch):
    first, second, x = tmp_path / "a" / "model.onnx", tmp_path / "b" / "model.onnx", np.ones((1, WIDTH), np.float32)
    monkeypatch.setattr(onnx_files, "SMALL", 1)
    onnx_files.write(model(), first)
    assert len(external.outside(external.read(first))) == 3
    monkeypatch.setattr(onnx_files, "SMALL", 1024)
    onnx_files.write(external.read(first), second)
    assert [tensor.name for tensor in external.outside(external.read(second))] == ["first", "second"]
    np.testing.assert_array_equal(outputs(second, x), outputs(first, x))


def test_weights_in_two_folders_are_refused(tmp_path, apart):
    read = []
    for name in ("a", "b"):
        onnx_files.write(model(), tmp_path / name / "model.onnx")
        read.append(external.read(tmp_path / name / "model.onnx"))
    read[0].graph.initializer[0].CopyFrom(read[1].graph.initializer[0])
    with pytest.raises(ValueError, match="weights lie in 2 folders"):
        sessions.serialized(read[0])


def test_a_model_goes_on_after_it_was_written(tmp_path, apart):
    path, made = tmp_path / "model.onnx", model()
    onnx_files.write(made, path)
    np.testing.assert_array_equal(Graph(made).array("first"), Graph(model()).array("first"))
    assert computation_hash(made) == computation_hash(model())


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_values_of_any_kind_and_shape_come_back(tmp_path_factory, data):
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    shapes = [data.draw(st.lists(st.integers(1, 40), min_size=0, max_size=3)) for _ in kinds]
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays = [generator.integers(0, 100, shape).astype(kind) for kind, shape in zip(kinds, shapes, strict=True)]
    tensors = [numpy_helper.from_array(np.asarray(array), f"t{number}") for number, array in enumerate(arrays)]
    graph = helper.make_graph([], "made", [], [], tensors)
    path = tmp_path_factory.mktemp("kinds") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_files, "LARGEST", 0)
        patch.setattr(onnx_files, "SMALL", data.draw(st.sampled_from((1, 64, 1024))))
        onnx_files.write(helper.make_model(graph), path)
    for tensor, array in zip(external.read(path).graph.initializer, arrays, strict=True):
        found = external.values(tensor)
        assert found.dtype == array.dtype and found.shape == array.shape
        np.testing.assert_array_equal(found, array)

"""Embedding tables of small numbers: what they give, which are made small, and that nothing else changes."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from quantbench.graph.patterns import embeddings
from quantbench.graph.view import Graph
from quantbench.quantize import tables

WORDS, WIDTH = 700, 32
IDS = np.array([[0, 3, 699], [5, 5, 1]], dtype=np.int64)


def model(*, opset=17, words=WORDS, width=WIDTH, reader="Gather", fixed=False):
    """Words and types, looked up and added; another reader of the words where one is asked for."""
    generator = np.random.default_rng(0)
    constants = {
        "words": generator.standard_normal((words, width)).astype(np.float32)
        * generator.uniform(0.01, 10, (words, 1)).astype(np.float32),
        "types": generator.standard_normal((2, width)).astype(np.float32),
        "zero": np.zeros((2, 3), dtype=np.int64),
    }
    constants["words"][5] = 0
    nodes = [
        helper.make_node("Gather", ["words", "zero" if fixed else "ids"], ["of_words"], "look_up"),
        helper.make_node("Gather", ["types", "zero"], ["of_types"], "look_up_types"),
        helper.make_node("Add", ["of_words", "of_types"], ["states"], "sum"),
    ]
    outputs = [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "length", width])]
    if reader == "MatMul":
        nodes += [
            helper.make_node("Transpose", ["words"], ["turned"], "turn"),
            helper.make_node("MatMul", ["states", "turned"], ["logits"], "head"),
        ]
        outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", words]))
    graph = helper.make_graph(
        nodes,
        "tables",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        outputs,
        [numpy_helper.from_array(np.asarray(value, dtype=value.dtype), name) for name, value in constants.items()],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(found)
    return found


def run(made):
    return ReferenceEvaluator(made).run(None, {"ids": IDS})[0]


@pytest.mark.parametrize(("bits", "apart"), [(8, 0.5 / 127), (4, 0.5 / 7)])
@given(st.data())
def test_every_number_is_as_near_as_its_row_allows(bits, apart, data):
    numbers = st.floats(-100, 100, width=32)
    table = data.draw(arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=numbers))
    found, scales = tables.rounded(table, bits)
    assert np.abs(found).max() <= 2 ** (bits - 1) - 1
    assert found.dtype == np.int8 and scales.shape == (len(table), 1) and (scales > 0).all()
    error = np.square(found * scales - table).sum(axis=1)
    widest = apart * np.abs(table).max(axis=1) * 1.001 + 1e-6
    assert (error <= table.shape[1] * widest**2).all()


def test_rows_are_rounded_alike_however_many_there_are(monkeypatch):
    table = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    whole = tables.rounded(table, 4)
    monkeypatch.setattr(tables, "ROWS", 3)
    for one, other in zip(whole, tables.rounded(table, 4), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize(("number_type", "width", "share"), [("int8", WIDTH, 4), ("int4", WIDTH, 8), ("int4", 33, 4)])
def test_a_graph_gives_the_rounded_rows(opset, number_type, width, share):
    made = model(opset=opset, width=width)
    small = tables.with_small_tables(made, number_type)
    onnx.checker.check_model(small)
    words = Graph(made).array("words")
    numbers, scales = tables.rounded(words, tables.BITS[number_type])
    expected = (numbers.astype(np.float32) * scales)[IDS] + Graph(made).array("types")[0]
    assert np.allclose(run(small), expected, rtol=1e-6, atol=1e-6)
    kept = sum(len(item.SerializeToString()) for item in small.graph.initializer if item.name.startswith("words"))
    assert kept <= words.nbytes / share + 4 * WORDS + 200
    assert "words" not in {item.name for item in small.graph.initializer}
    assert run(made).shape == run(small).shape


@pytest.mark.parametrize("options", [{"words": 100}, {"reader": "MatMul"}, {"fixed": True}])
def test_what_is_small_is_read_otherwise_or_is_a_constant_stays(options):
    assert tables.with_small_tables(model(**options), "int8") is None


def test_bytes_are_those_of_the_tables_alone():
    assert tables.float_bytes(Graph(model())) == WORDS * WIDTH * 4


@pytest.mark.parametrize("number_type", ["int8", "int4"])
def test_the_group_of_embeddings_has_what_makes_floats_of_them(number_type):
    made = model()
    assert embeddings(Graph(made)) == {"look_up", "look_up_types", "sum"}
    small = onnx.shape_inference.infer_shapes(tables.with_small_tables(made, number_type))
    assert embeddings(Graph(small)) == {node.name for node in small.graph.node}

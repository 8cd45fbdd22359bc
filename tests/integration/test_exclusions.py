"""What each node-exclusion group selects in exported encoders, and that it is what its docstring says."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support.tiny_models import export_tiny_encoder

from quantbench.graph.view import Graph
from quantbench.plugins import registry

LAYERS = 2
NORMS = 2 * LAYERS + 1
KINDS = ("bert", "distilbert", "roberta", "electra")
OPSETS = (11, 17, 20)
GROUPS = registry.names("exclusions")
DECOMPOSED_NORM = {"ReduceMean": 2, "Sub": 1, "Pow": 1, "Add": 2, "Sqrt": 1, "Div": 1, "Mul": 1}
DECOMPOSED_GELU = {"Div": 1, "Erf": 1, "Add": 1, "Mul": 2}
TANH_GELU = {"Pow": 1, "Mul": 4, "Add": 2, "Tanh": 1}
GELU_NEW = {
    "bert": {"hidden_act": "gelu_new"},
    "distilbert": {"activation": "gelu_new"},
    "roberta": {"hidden_act": "gelu_new"},
    "electra": {"hidden_act": "gelu_new"},
}


def times(number: int, counts: dict[str, int]) -> dict[str, int]:
    return {kind: number * count for kind, count in counts.items()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Graphs of exported encoders by kind, opset and changes of the configuration, each exported once."""
    made: dict[str, Graph] = {}

    def get(kind: str, opset: int, **changes: object) -> Graph:
        name = f"{kind}-{opset}-{changes}"
        if name not in made:
            folder: Path = tmp_path_factory.mktemp(kind)
            made[name] = Graph.read(export_tiny_encoder(folder, kind, opset, **changes))
        return made[name]

    return get


def selected(graph: Graph, group: str) -> Counter[str]:
    """Operator types of the nodes that a group selects."""
    types = {node.name: node.op_type for node in graph.nodes}
    return Counter(types[name] for name in registry.exclusion(group).select(graph))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
def test_exact_counts(exported, kind, opset):
    graph = exported(kind, opset)
    tables = 2 if kind == "distilbert" else 3  # words, positions and, elsewhere, segments
    norm = {"LayerNormalization": 1} if opset >= 17 else DECOMPOSED_NORM
    gelu = {"Gelu": 1} if opset >= 20 else DECOMPOSED_GELU
    assert selected(graph, "layernorm") == times(NORMS, norm)
    assert selected(graph, "gelu") == times(LAYERS, gelu)
    assert selected(graph, "residual") == {"Add": 2 * LAYERS}
    assert selected(graph, "gather") == {"Gather": tables, "Add": tables - 1}
    assert selected(graph, "softmax") == {"Softmax": LAYERS, "Add": LAYERS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
def test_exact_counts_with_the_tanh_gelu(exported, kind, opset):
    graph = exported(kind, opset, **GELU_NEW[kind])
    norm = {"LayerNormalization": 1} if opset >= 17 else DECOMPOSED_NORM
    assert selected(graph, "gelu") == times(LAYERS, TANH_GELU)
    assert selected(graph, "residual") == {"Add": 2 * LAYERS}
    assert selected(graph, "layernorm") == times(NORMS, norm)


@pytest.mark.parametrize("opset", OPSETS)
def test_a_projection_of_embeddings_is_no_residual(exported, opset):
    graph = exported("electra", opset, embedding_size=16)
    assert selected(graph, "residual") == {"Add": 2 * LAYERS}
    assert selected(graph, "gather") == {"Gather": 3, "Add": 2}


@pytest.mark.parametrize("opset", [11, 17])
def test_relu_is_no_gelu(exported, opset):
    graph = exported("bert", opset, hidden_act="relu")
    assert selected(graph, "gelu") == {}
    assert selected(graph, "residual") == {"Add": 2 * LAYERS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("tanh", [False, True])
def test_groups_select_existing_nodes_and_share_none(exported, kind, opset, tanh):
    graph = exported(kind, opset, **(GELU_NEW[kind] if tanh else {}))
    names = [node.name for node in graph.nodes]
    assert len(names) == len(set(names)) and all(names)
    groups = {group: registry.exclusion(group).select(graph) for group in GROUPS}
    for one, other in combinations(groups, 2):
        assert not groups[one] & groups[other], f"{one} and {other}"
    assert set().union(*groups.values()) <= set(names)


def test_matrix_products_belong_to_no_group(exported):
    for opset in OPSETS:
        for group in GROUPS:
            assert not {"MatMul", "Gemm"} & set(selected(exported("bert", opset), group))


@pytest.mark.parametrize("opset", OPSETS)
def test_residuals_are_read_by_normalizations(exported, opset):
    graph = exported("bert", opset)
    norms = registry.exclusion("layernorm").select(graph)
    residuals = registry.exclusion("residual").select(graph)
    for node in graph.nodes:
        if node.name in residuals:
            assert norms >= {reader.name for reader in graph.consumers(node)}


def without_any() -> Graph:
    """A projection with a bias and a ReLU: nothing that a group knows."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], "project"),
        helper.make_node("Add", ["p", "b"], ["s"], "bias"),
        helper.make_node("Relu", ["s"], ["y"], "activation"),
    ]
    return graph_of(nodes, {"w": np.eye(4), "b": np.ones(4)})


def graph_of(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Graph:
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return Graph(onnx.shape_inference.infer_shapes(model))


@pytest.mark.parametrize("group", GROUPS)
def test_conformance(exported, group):
    plugin = registry.exclusion(group)
    assert isinstance(plugin.SUMMARY, str) and plugin.SUMMARY
    assert plugin.select(without_any()) == set()
    assert plugin.select(graph_of([], {})) == set()
    found = plugin.select(exported("bert", 11))
    assert isinstance(found, set) and found and all(isinstance(name, str) for name in found)
    assert plugin.select(exported("bert", 11)) == found


def test_residuals_of_projections_without_bias_are_found():
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "activation"),
        helper.make_node("MatMul", ["r", "w"], ["p"], "project"),
        helper.make_node("Add", ["r", "p"], ["y"], "join"),
    ]
    assert registry.exclusion("residual").select(graph_of(nodes, {"w": np.eye(4)})) == {"join"}


def test_a_standard_deviation_is_no_layer_normalization():
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], "mean", axes=[-1]),
        helper.make_node("Sub", ["x", "m"], ["c"], "center"),
        helper.make_node("Mul", ["c", "c"], ["q"], "square"),
        helper.make_node("ReduceMean", ["q"], ["v"], "variance", axes=[-1]),
        helper.make_node("Add", ["v", "e"], ["s"], "epsilon"),
        helper.make_node("Sqrt", ["s"], ["d"], "root"),
        helper.make_node("Div", ["x", "d"], ["y"], "divide"),
    ]
    assert registry.exclusion("layernorm").select(graph_of(nodes, {"e": 1e-5})) == set()
    nodes[-1].input[0] = "c"
    assert registry.exclusion("layernorm").select(graph_of(nodes, {"e": 1e-5})) == {node.name for node in nodes}


def test_a_gate_behind_a_gelu_does_not_belong_to_it():
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["h"], "half"),
        helper.make_node("Div", ["x", "root"], ["d"], "scale"),
        helper.make_node("Erf", ["d"], ["e"], "erf"),
        helper.make_node("Add", ["e", "one"], ["p"], "plus"),
        helper.make_node("Mul", ["h", "p"], ["g"], "product"),
        helper.make_node("Mul", ["g", "x"], ["y"], "gate"),
    ]
    graph = graph_of(nodes, {"half": 0.5, "root": 2**0.5, "one": 1})
    assert registry.exclusion("gelu").select(graph) == {"half", "scale", "erf", "plus", "product"}


def test_a_tanh_alone_is_no_gelu():
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["m"], "scale"),
        helper.make_node("Tanh", ["m"], ["t"], "tanh"),
        helper.make_node("Add", ["t", "one"], ["p"], "plus"),
        helper.make_node("Mul", ["p", "x"], ["y"], "product"),
    ]
    assert registry.exclusion("gelu").select(graph_of(nodes, {"two": 2, "one": 1})) == set()

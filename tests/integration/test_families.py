"""Families of encoders: planned, exported, quantized and scored; and what the node-exclusion groups find in each.

``--snapshot-update`` writes the tables of ``docs/groups.md`` anew.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.support import stages
from tests.support.families import FAMILIES, write_family

from quantbench.config.load import build_config
from quantbench.config.plan import make_plan
from quantbench.errors import RunFailed
from quantbench.graph.view import Graph
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import load_model
from quantbench.pipeline.preflight import check
from quantbench.plugins import registry
from quantbench.reports._markdown import table
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Config, Settings
from quantbench.system import environment

GROUPS = ("layernorm", "gelu", "residual", "gather", "softmax")
DEFAULT, NEWEST = 17, 20
PAGE = Path(__file__).parents[2] / "docs" / "groups.md"
LAYERS = 2
APPROACHES = ("static", "dynamic")
TEXT = [name for name, family in FAMILIES.items() if family.model_type != "vit"]
NORMS = ("LayerNormalization", "SkipLayerNormalization")
GELUS = ("Gelu", "FastGelu", "BiasGelu")


@dataclass
class Made:
    """A family's files, the configuration that names them, and the context that keeps its exports."""

    root: Path
    config: Config
    context: Context

    def settings(self, opset: int) -> Settings:
        """The settings with another opset."""
        base = self.config.base
        return base.model_copy(update={"framework_args": base.framework_args.model_copy(update={"opset": opset})})

    def exported(self, opset: int) -> ArmSpec:
        """The float export."""
        return stages.exported(self.settings(opset), self.context)

    def graph(self, opset: int) -> Graph:
        """Its graph."""
        return Graph.read(Path(self.exported(opset).path))


@pytest.fixture(scope="module")
def machine():
    return environment.detect()


@pytest.fixture(scope="module")
def made(tmp_path_factory, machine):
    """Models of each family by number of layers, whose exports are made once."""
    found: dict[tuple[str, int], Made] = {}

    def get(name: str, layers: int = LAYERS) -> Made:
        if (name, layers) not in found:
            root = tmp_path_factory.mktemp(name)
            written = write_family(name, root, layers)
            data = {
                **written,
                **({"input_lengths": [16]} if written["task"] == "token-classification" else {}),
                "operators_to_quantize": ["Add", "MatMul"],
                "node_exclusion": list(GROUPS),
                "calibration": {"num_calibration_samples": 8},
                "benchmarked": {
                    "quantization_approach": list(APPROACHES),
                    "framework_args.opset": [FAMILIES[name].opset, DEFAULT],
                },
            }
            config = build_config(data, {}, "test.yaml")
            found[name, layers] = Made(root, config, stages.context_at(root / "cache"))
        return found[name, layers]

    return get


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_planned_exported_quantized_and_scored(made, name):
    one = made(name)
    check(one.config, one.context, [])
    runs = make_plan(one.config).runs
    assert len(runs) == 2 * len(APPROACHES)
    for run in runs:
        artifact, optimized = stages.optimized(run, one.root / "models", one.context)
        arms = (stages.original(run.settings, one.context), stages.exported(run.settings, one.context), optimized)
        original, exported, scored = (stages.scores(arm, run.settings, one.context) for arm in arms)
        assert exported.changed == 0
        assert len(set(original.outcomes)) > 1, "predictions differ between examples"
        assert scored.examples == len(scored.outcomes) == original.examples
        assert set(scored.metrics) == set(original.metrics)
        assert artifact.operators["MatMul"] >= LAYERS * FAMILIES[name].products
        assert all(artifact.excluded[group] for group in GROUPS)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_export_computes_what_pytorch_computes_at_other_shapes(made, name):
    one = made(name)
    processor = load_model(one.config.base.sources, one.context).processor
    original = registry.runtime("pytorch").load(stages.original(one.config.base, one.context), 1)
    for opset in (FAMILIES[name].opset, DEFAULT, NEWEST):
        exported = registry.runtime("onnxruntime").load(one.exported(opset), 1)
        for seed, (batch, length) in enumerate([(5, 7), (1, 1), (2, 33)]):
            inputs = padded(processor.exact_inputs(batch, length, seed), processor)
            [wanted], [got] = original.predict(inputs), exported.predict(inputs)
            assert got.shape == wanted.shape
            assert wanted.std() > 0.05
            assert np.abs(got - wanted)[seen(inputs)].max() < 1e-4


def seen(inputs):
    """Where the outputs count: padding that sees nothing in its window attends to whatever its implementation likes."""
    return inputs["attention_mask"].astype(bool) if "attention_mask" in inputs else slice(None)


def padded(inputs, processor):
    """The inputs with the last third of every other row as padding; images as they are."""
    if not processor.HAS_LENGTH:
        return inputs
    length = inputs["input_ids"].shape[1]
    behind = np.zeros_like(inputs["attention_mask"], dtype=bool)
    behind[::2, max(1, 2 * length // 3) :] = True
    return {
        **inputs,
        "attention_mask": np.where(behind, 0, inputs["attention_mask"]),
        "input_ids": np.where(behind, processor.raw.pad_token_id, inputs["input_ids"]),
    }


@pytest.mark.parametrize("name", TEXT)
def test_the_longest_input_is_what_the_positions_allow(made, name):
    one = made(name)
    model = load_model(one.config.base.sources, one.context)
    longest = model.processor.max_length(model.config)
    offset = model.config["pad_token_id"] + 1 if FAMILIES[name].model_type in ("roberta", "xlm-roberta", "mpnet") else 0
    assert longest == model.config["max_position_embeddings"] - offset
    inputs = model.processor.exact_inputs(2, longest, 0)
    assert list(inputs) == list(model.processor.raw.model_input_names)
    original = registry.runtime("pytorch").load(stages.original(one.config.base, one.context), 1)
    exported = registry.runtime("onnxruntime").load(one.exported(DEFAULT), 1)
    [wanted], [got] = original.predict(inputs), exported.predict(inputs)
    assert np.abs(got - wanted).max() < 1e-4
    if offset:
        with pytest.raises((IndexError, RuntimeError)):
            original.predict(model.processor.exact_inputs(2, longest + 1, 0))


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.opset > 11])
def test_an_opset_that_cannot_express_a_family_is_said(made, name):
    said = r"opset 11 cannot express this model .*int64.*; set framework_args.opset higher"
    with pytest.raises(RunFailed, match=said):
        made(name).exported(11)


@pytest.mark.parametrize("name", FAMILIES)
def test_groups_share_no_node_and_hold_no_product(made, name):
    for opset in (FAMILIES[name].opset, NEWEST):
        graph = made(name).graph(opset)
        for one, other in combinations(GROUPS, 2):
            both = registry.exclusion(one).select(graph) & registry.exclusion(other).select(graph)
            assert not both, f"{one} and {other}"
        assert not {"MatMul", "Gemm", "Conv"} & set(sum((selected(graph, group) for group in GROUPS), Counter()))


@pytest.mark.parametrize("name", FAMILIES)
def test_nodes_that_onnx_runtime_fuses_are_found_too(made, name, tmp_path):
    before = made(name).graph(DEFAULT)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(made(name).exported(DEFAULT).path, options, providers=["CPUExecutionProvider"])
    fused = Graph.read(tmp_path / "fused.onnx")
    # DeBERTa normalizes a constant table, which ONNX Runtime computes once and for all.
    folded = sum(node.op_type in NORMS and not before.variable_inputs(node) for node in before.nodes)
    for group, types in (("layernorm", ("Sqrt", *NORMS)), ("gelu", ("Erf", "Tanh", *GELUS)), ("softmax", ("Softmax",))):
        there, still = (sum(selected(graph, group)[kind] for kind in types) for graph in (before, fused))
        assert still == there - (folded if group == "layernorm" else 0) > 0
    assert set(selected(fused, "gelu")) <= set(GELUS), "each GELU is one node"


def selected(graph: Graph, group: str) -> Counter[str]:
    """Operator types of the nodes that a group selects."""
    types = {node.name: node.op_type for node in graph.nodes}
    return Counter(types[name] for name in registry.exclusion(group).select(graph))


def cell(one: int, two: int) -> str:
    """Nodes of a layer, and those outside of layers, from models of one and of two layers."""
    layer, elsewhere = two - one, 2 * one - two
    return f"{layer} + {elsewhere}" if elsewhere else str(layer)


def test_the_page_says_how_many_nodes_each_group_finds(made, request):
    text = PAGE.read_text()
    for marker, opset_of in (("decomposed", lambda name: FAMILIES[name].opset), ("single nodes", lambda _: NEWEST)):
        rows = []
        for name in FAMILIES:
            graphs = [made(name, layers).graph(opset_of(name)) for layers in (1, 2)]
            found = [[sum(selected(graph, group).values()) for graph in graphs] for group in GROUPS]
            rows.append([name, str(opset_of(name)), *(cell(*counts) for counts in found)])
        counted = table(["family", "opset", *(f"`{group}`" for group in GROUPS)], rows)
        before, begin, rest = text.partition(f"<!-- {marker} -->\n")
        _, end, after = rest.partition(f"\n<!-- end of {marker} -->")
        assert begin and end, marker
        text = before + begin + counted + end + after
    if request.config.option.update_snapshots:
        PAGE.write_text(text)
    assert PAGE.read_text() == text

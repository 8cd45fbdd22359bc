"""Families of encoders: exported, quantized and scored; what the node-exclusion groups find in each, as docs/groups.md says.

After a change, ``QUANTBENCH_WRITE_DOCS=1`` writes the tables of the page anew.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.support.families import FAMILIES, write_family

from quantbench import environment, registry
from quantbench.config import build_config
from quantbench.errors import RunFailed
from quantbench.graph import Graph
from quantbench.plan import make_plan
from quantbench.progress import Silent
from quantbench.store import Store
from quantbench.tables import table
from quantbench.workbench import Workbench
from quantbench.worker import _prepare

GROUPS = ("layernorm", "gelu", "residual", "gather", "softmax")
NEWER = (17, 20)
PAGE = Path(__file__).parents[2] / "docs" / "groups.md"
COMMON = {
    "operators_to_quantize": ["Add", "MatMul"],
    "node_exclusion": list(GROUPS),
    "calibration": {"num_calibration_samples": 8},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Settings, configuration and workbench of each family, whose exports are made once."""
    found = {}

    def get(name):
        if name not in found:
            root = tmp_path_factory.mktemp(name)
            settings = {**write_family(name, root), **COMMON}
            grid = {"quantization_approach": ["static", "dynamic"], "framework_args.opset": [FAMILIES[name].opset, 17]}
            config = build_config({**settings, "benchmarked": grid}, {}, "test.yaml")
            found[name] = config, Workbench(root / "cache", environment.detect(), Silent()), root
        return found[name]

    return get


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_planned_exported_quantized_and_scored(made, name):
    config, workbench, root = made(name)
    runs = make_plan(config).runs
    assert len(runs) == 4
    for run in runs:
        prepared = _prepare(run, Store(root / "out"), workbench)
        scores = prepared.scores
        assert scores["onnx-float"].changed == 0
        assert len(set(scores["original"].outcomes)) > 1
        assert prepared.artifact.operators["MatMul"] >= 2 * 4
        if run.settings.quantization_approach == "static":
            assert set(prepared.artifact.excluded) == set(GROUPS)
            assert all(prepared.artifact.excluded.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_export_computes_what_pytorch_computes_at_other_shapes(made, name):
    config, workbench, _ = made(name)
    model = workbench.model(config.base)
    original = registry.runtime("pytorch").load(workbench.original(config.base), 1)
    has_length = registry.task(config.base.task).PROCESSOR.HAS_LENGTH
    for opset in (FAMILIES[name].opset, *NEWER):
        exported = registry.runtime("onnxruntime").load(workbench.float_model(with_opset(config.base, opset)), 1)
        for batch in [(5, 7), (1, 1), (2, 33)] if has_length else [1, 3]:
            if has_length:
                inputs = padded(model.processor.exact_inputs(*batch, seed=1), model.processor)
            else:
                pixels = np.random.default_rng(0).normal(size=(batch, 3, 32, 32))
                inputs = {"pixel_values": pixels.astype(np.float32)}
            seen = inputs.get("attention_mask", np.ones(1)).astype(bool)
            [wanted], [got] = original.predict(inputs), exported.predict(inputs)
            assert wanted.std() > 0.05
            difference = np.abs(got - wanted)
            assert (difference[seen] if has_length else difference).max() < 1e-4


def with_opset(settings, opset):
    return settings.model_copy(update={"framework_args": settings.framework_args.model_copy(update={"opset": opset})})


def padded(inputs, processor):
    """The inputs with the last third of every other row as padding."""
    length = inputs["input_ids"].shape[1]
    behind = np.zeros_like(inputs["attention_mask"], dtype=bool)
    behind[::2, max(1, 2 * length // 3) :] = True
    return {
        **inputs,
        "attention_mask": np.where(behind, 0, inputs["attention_mask"]),
        "input_ids": np.where(behind, processor.raw.pad_token_id, inputs["input_ids"]),
    }


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.opset > 11])
def test_an_opset_that_cannot_express_a_family_is_said(made, name):
    config, workbench, _ = made(name)
    with pytest.raises(
        RunFailed, match=r"opset 11 cannot express this model .*int64.*; set framework_args.opset higher"
    ):
        workbench.float_model(with_opset(config.base, 11))


def counts(made, name, tmp_path_factory):
    """By whether nodes are decomposed, and group: operator types in models of two and of three layers."""
    found = {}
    config, workbench, _ = made(name)
    root = tmp_path_factory.mktemp(f"{name}-3")
    longer = build_config({**write_family(name, root, layers=3), **COMMON, "quantization_approach": "dynamic"}, {}, "")
    for opset in (FAMILIES[name].opset, 20):
        graphs = [Graph.read(Path(workbench.float_model(with_opset(one.base, opset)).path)) for one in (config, longer)]
        for group in GROUPS:
            found[opset == 20, group] = [selected(graph, group) for graph in graphs]
    return found


def selected(graph, group):
    types = {node.name: node.op_type for node in graph.nodes}
    return Counter(types[name] for name in registry.exclusion(group).select(graph))


def cell(two, three):
    """Nodes of a layer, and those outside of layers."""
    layer = sum(three.values()) - sum(two.values())
    elsewhere = sum(two.values()) - 2 * layer
    return f"{layer} + {elsewhere}" if elsewhere else str(layer)


def test_the_page_says_how_many_nodes_each_group_finds(made, tmp_path_factory):
    found = {name: counts(made, name, tmp_path_factory) for name in FAMILIES}
    for name, one in found.items():
        assert all(sum(two.values()) for two, _ in one.values()), f"a group finds nothing in {name}"
    tables = []
    for single in (False, True):
        rows = [
            [name, "20" if single else str(FAMILIES[name].opset), *(cell(*one[single, group]) for group in GROUPS)]
            for name, one in found.items()
        ]
        tables.append(table(["family", "opset", *(f"`{group}`" for group in GROUPS)], rows))
    text = PAGE.read_text()
    for marker, made_now in zip(("decomposed", "single nodes"), tables, strict=True):
        begin, end = f"<!-- {marker} -->\n", f"\n<!-- end of {marker} -->"
        before, _, rest = text.partition(begin)
        old, _, after = rest.partition(end)
        if os.environ.get("QUANTBENCH_WRITE_DOCS"):
            text = before + begin + made_now + end + after
            PAGE.write_text(text)
        else:
            assert old == made_now

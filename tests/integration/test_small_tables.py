"""Models of real architectures with small embedding tables: the same as with rows that were rounded in the checkpoint."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.architectures import rows
from tests.architectures.listed import ARCHITECTURES
from tests.architectures.made import write
from tests.support import stages

from quantbench.config.plan import run_of
from quantbench.errors import BadInput, RunFailed
from quantbench.graph import external
from quantbench.graph.view import Graph
from quantbench.quantize import tables

FAMILIES = ("BERT", "DistilBERT", "XLM-R", "ALBERT", "MPNet", "DeBERTa-v2", "ModernBERT", "T5 tagger")
FLOATS = [("onnxruntime", {}), ("openvino", {}), ("openvino", {"precision": "bfloat16"})]
INT8 = [("onnxruntime", "dynamic"), ("onnxruntime", "static"), ("onnxruntime", "mixed"), ("openvino", "static")]
EVERYTHING = ["Add", "Gather", "MatMul", "Mul"]


@pytest.fixture(autouse=True)
def every_table(monkeypatch):
    monkeypatch.setattr(tables, "LEAST_BYTES", 1000)


def written_by(name, folder, **changes):
    architecture = next(one for one in ARCHITECTURES if one.name == name)
    return write(replace(architecture, changes={**architecture.changes, **changes}), folder)


def round_checkpoint(folder, exported, number_type):
    """Round in a checkpoint what are tables in its export; how many."""
    graph, file = Graph(external.read(exported)), folder / "model.safetensors"
    weights, count = load_file(file), 0
    for name in tables.tables_of(graph):
        table = graph.array(name)
        numbers, scales = tables.rounded(table, tables.BITS[number_type])
        for key, weight in weights.items():
            if weight.shape == table.shape and np.array_equal(weight, table):
                weights[key], count = numbers.astype(np.float32) * scales, count + 1
    save_file(weights, file, {"format": "pt"})
    return count


@pytest.mark.parametrize("number_type", ["int8", "int4"])
@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_those_of_a_checkpoint_with_rounded_tables(name, number_type, tmp_path):
    written, context = written_by(name, tmp_path), stages.context_at(tmp_path / "cache")
    settings = rows.settings_of(
        written, rows.default_opset(), quantization_approach="none", embedding_tables=number_type
    ).base
    _, arm = stages.optimized(run_of(settings), tmp_path / "models", context)
    found = rows.outputs(arm, settings, context)
    exported = stages.float_model(settings, context).path
    shutil.copytree(tmp_path / "model", tmp_path / "rounded")
    assert round_checkpoint(tmp_path / "rounded", exported, number_type)
    other = rows.settings_of(
        {**written, "model_name_or_path": str(tmp_path / "rounded")}, rows.default_opset(), quantization_approach="none"
    ).base
    expected = rows.outputs(stages.exported(other, context), other, context)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(found - rows.outputs(stages.exported(settings, context), settings, context)).max() > 0


@pytest.mark.parametrize(("framework", "args"), FLOATS)
@pytest.mark.parametrize("number_type", ["int8", "int4"])
def test_frameworks_give_the_same(framework, args, number_type, tmp_path):
    written, context = written_by("BERT", tmp_path), stages.context_at(tmp_path / "cache")
    settings = rows.settings_of(
        written, rows.default_opset(), quantization_approach="none", embedding_tables=number_type
    ).base
    other = settings.model_copy(
        update={"framework": framework, "framework_args": settings.framework_args.model_copy(update=args)}
    )
    _, arm = stages.optimized(run_of(settings), tmp_path / "models", context)
    _, another = stages.optimized(run_of(other), tmp_path / "models", context)
    near = 0.05 if args else 1e-4
    assert rows.apart(rows.outputs(arm, settings, context), rows.outputs(another, other, context)) <= near


@pytest.mark.parametrize(("framework", "approach"), INT8)
@pytest.mark.parametrize("number_type", ["int8", pytest.param("int4", marks=pytest.mark.slow)])
def test_every_quantizer_leaves_them_small(framework, approach, number_type, tmp_path):
    written = written_by("BERT", tmp_path, vocab_size=4000)
    context = stages.context_at(tmp_path / "cache")
    changes = {
        "framework": framework,
        "quantization_approach": approach,
        "calibration": {"num_calibration_samples": 8},
        "embedding_tables": number_type,
    }
    settings = rows.settings_of(written, rows.default_opset(), **changes).base
    whole = settings.model_copy(update={"embedding_tables": "float32"})
    small, plain = (stages.optimized(run_of(kind), tmp_path / "models", context) for kind in (settings, whole))
    floats = rows.outputs(stages.exported(settings, context), settings, context)
    assert rows.apart(floats, rows.outputs(small[1], settings, context)) <= rows.APART
    saved = plain[0].bytes - small[0].bytes
    table = 4 * 4000 * rows_width(settings, context)
    assert saved >= (0.7 if number_type == "int8" else 0.8) * table or framework == "openvino"
    assert small[0].operators == plain[0].operators, "nothing else is quantized, and nothing less"


def rows_width(settings, context):
    graph = Graph(external.read(stages.float_model(settings, context).path))
    return graph.array(tables.tables_of(graph)[0]).shape[1]


@pytest.mark.parametrize("excluded", [[], ["gather"]])
def test_operators_around_tables_can_be_quantized_too(excluded, tmp_path):
    written, context = written_by("BERT", tmp_path), stages.context_at(tmp_path / "cache")
    changes = {
        "quantization_approach": "static",
        "operators_to_quantize": EVERYTHING,
        "node_exclusion": excluded,
        "calibration": {"num_calibration_samples": 8},
        "embedding_tables": "int8",
    }
    settings = rows.settings_of(written, rows.default_opset(), **changes).base
    artifact, arm = stages.optimized(run_of(settings), tmp_path / "models", context)
    floats = rows.outputs(stages.exported(settings, context), settings, context)
    assert rows.apart(floats, rows.outputs(arm, settings, context)) <= rows.APART
    assert artifact.operators["MatMul"]


def test_a_model_without_tables_is_refused(tmp_path):
    written, context = written_by("ViT", tmp_path), stages.context_at(tmp_path / "cache")
    settings = rows.settings_of(
        written, rows.default_opset(), quantization_approach="none", embedding_tables="int8"
    ).base
    with pytest.raises(RunFailed, match="no table of 64 KiB or more"):
        stages.optimized(run_of(settings), tmp_path / "models", context)


def test_a_checkpoint_keeps_its_tables(tmp_path):
    written = written_by("BERT", tmp_path)
    changes = {
        "framework": "pytorch",
        "quantization_approach": "none",
        "framework_args": {"precision": "bfloat16"},
        "embedding_tables": "int8",
    }
    with pytest.raises(BadInput, match="embedding_tables: int8 would change"):
        rows.settings_of({**written, **changes}, rows.default_opset(), framework_args={"precision": "bfloat16"})

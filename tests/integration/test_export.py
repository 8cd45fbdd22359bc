"""Checkpoints as float ONNX files: the same numbers, the same bytes, and nothing left that hides a constant."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from tests.architectures.listed import ARCHITECTURES
from tests.architectures.made import AUTO_CLASSES, write
from tests.support.tiny_models import TOKEN_OUTPUTS, export_tiny_encoder, tiny_inputs, token_classifier

from quantbench.errors import RunFailed
from quantbench.plugins import registry
from quantbench.schema.results import ArmSpec
from quantbench.sources import export
from quantbench.sources.export import _tidy, write_export

KINDS = ("bert", "distilbert", "roberta", "electra")
OPSETS = (11, 13, 17, 20)
SHAPES = ((2, 8), (1, 1), (1, 23), (5, 8), (3, 61))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a checkpoint and its export by kind and opset."""
    made = {}
    for kind in KINDS:
        for opset in OPSETS:
            folder = tmp_path_factory.mktemp(kind)
            export_tiny_encoder(folder, kind, opset)
            made[kind, opset] = folder
    return made


def accepted(kind: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in inputs.items() if kind != "distilbert" or name != "token_type_ids"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
def test_the_export_computes_what_pytorch_computes(folders, kind, opset):
    folder = folders[kind, opset]
    original = registry.runtime("pytorch").load(token_classifier(folder / "checkpoint"), 1)
    path = str(folder / "model.onnx")
    spec = ArmSpec(runtime="onnxruntime", path=path, sha256="", options={"optimization_level": 99})
    exported = registry.runtime("onnxruntime").load(spec, 1)
    seen = []
    for seed, (batch, length) in enumerate(SHAPES):
        for padded in (False, True):
            inputs = accepted(kind, tiny_inputs(batch, length, seed, padded))
            [wanted], [got] = original.predict(inputs), exported.predict(inputs)
            assert got.shape == wanted.shape == (batch, length, 5)
            assert np.abs(got - wanted).max() < 1e-4
            seen.append(wanted.ravel())
    assert np.concatenate(seen).std() > 0.1  # the numbers compared are not all alike


def test_padding_does_not_change_what_stands_before_it(folders):
    path = str(folders["bert", 11] / "model.onnx")
    spec = ArmSpec(runtime="onnxruntime", path=path, sha256="", options={"optimization_level": 99})
    session = registry.runtime("onnxruntime").load(spec, 1)
    padded = tiny_inputs(1, 12, padded=True)
    [long] = session.predict(padded)
    [short] = session.predict({name: array[:, :11] for name, array in padded.items()})
    assert np.abs(long[:, :11] - short).max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
def test_constants_are_read_directly(folders, kind, opset):
    model = onnx.load(folders[kind, opset] / "model.onnx")
    constants = {item.name for item in model.graph.initializer}
    assert len(constants) == len(model.graph.initializer)
    assert not [node.name for node in model.graph.node if node.op_type == "Constant"]
    identities = [node for node in model.graph.node if node.op_type == "Identity"]
    assert not [node.name for node in identities if node.input[0] in constants]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", OPSETS)
def test_the_file_is_valid_and_says_its_opset_names_and_free_axes(folders, kind, opset):
    model = onnx.load(folders[kind, opset] / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert [item.name for item in model.graph.input] == list(accepted(kind, tiny_inputs(1, 1)))
    assert [item.name for item in model.graph.output] == list(TOKEN_OUTPUTS)
    for item in [*model.graph.input, *model.graph.output]:
        axes = [axis.dim_param for axis in item.type.tensor_type.shape.dim]
        assert axes[:2] == ["batch_size", "sequence_length"]


@pytest.mark.parametrize("opset", [11, 17])
def test_types_of_all_tensors_are_inferred(folders, opset):
    model = onnx.load(folders["bert", opset] / "model.onnx")
    typed = {item.name for item in [*model.graph.value_info, *model.graph.output] if item.type.tensor_type.elem_type}
    assert {name for node in model.graph.node for name in node.output if name} <= typed


EXPORT = """
import sys
from pathlib import Path
import numpy as np
from quantbench.sources.export import write_export
from quantbench.schema.results import ArmSpec
options = {"auto_class": "AutoModelForTokenClassification"}
spec = ArmSpec(runtime="pytorch", path=sys.argv[1], sha256="", options=options)
ones = np.ones((2, 8), np.int64)
inputs = {name: ones for name in ("input_ids", "token_type_ids", "attention_mask")}
outputs = {"logits": {0: "batch_size", 1: "sequence_length"}}
write_export(spec, int(sys.argv[2]), inputs, outputs, Path(sys.argv[3]))
"""


@pytest.mark.parametrize("opset", [11, 20])
def test_exporting_again_gives_the_same_bytes(folders, tmp_path, opset):
    folder = folders["bert", opset]
    before = (folder / "model.onnx").read_bytes()
    spec = token_classifier(folder / "checkpoint")
    write_export(spec, opset, tiny_inputs(2, 8), TOKEN_OUTPUTS, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == before
    write_export(spec, opset, tiny_inputs(3, 17, seed=9), TOKEN_OUTPUTS, tmp_path / "longer.onnx")
    assert (tmp_path / "longer.onnx").read_bytes() == before


def test_another_process_gives_the_same_bytes(folders, tmp_path):
    folder = folders["bert", 11]
    arguments = [str(folder / "checkpoint"), "11", str(tmp_path / "other.onnx")]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", EXPORT, *arguments], check=True, capture_output=True, env=environment)
    assert (tmp_path / "other.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


def test_constants_behind_constants_are_read_directly_too():
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    two = numpy_helper.from_array(np.float32([2]))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Identity", ["two"], ["again"]),
        helper.make_node("Identity", ["again"], ["and_again"]),
        helper.make_node("Identity", ["w"], ["tied"]),
        helper.make_node("Identity", ["x"], ["copy"]),
        helper.make_node("Mul", ["copy", "and_again"], ["m"]),
        helper.make_node("Mul", ["m", "tied"], ["y"]),
        helper.make_node("Identity", ["w"], ["z"]),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xyz"]
    weight = numpy_helper.from_array(np.float32([3]), "w")
    graph = helper.make_graph(nodes, "chains", values[:1], values[1:], [weight])
    model = _tidy(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    onnx.checker.check_model(model, full_check=True)
    kept = [(node.op_type, *node.input) for node in model.graph.node]
    # A constant that is a result of the graph has to be made by a node.
    assert kept == [("Identity", "x"), ("Mul", "copy", "two"), ("Mul", "m", "w"), ("Identity", "w")]


@pytest.fixture(scope="module")
def registers(tmp_path_factory):
    """A checkpoint that the older exporter cannot export at any opset, and pictures for it."""
    architecture = next(one for one in ARCHITECTURES if one.name == "DINOv2 with registers")
    folder = tmp_path_factory.mktemp("registers")
    write(architecture, folder, count=2)
    options = {"auto_class": AUTO_CLASSES[architecture.task]}
    pictures = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    return ArmSpec(runtime="pytorch", path=str(folder / "model"), sha256="", options=options), pictures


@pytest.mark.parametrize(
    ("opset", "steps"),
    [
        (17, "set framework_args.opset to 18 or more and pip install 'quantbench[exporter]'"),
        (18, "may do it: pip install 'quantbench[exporter]'"),
    ],
)
def test_what_the_newer_exporter_needs_is_said(registers, tmp_path, monkeypatch, opset, steps):
    monkeypatch.setattr(export, "NEWER_LIBRARY", "a_library_that_is_not_there")
    spec, pictures = registers
    with pytest.raises(RunFailed) as failed:
        write_export(
            spec, opset, {"pixel_values": pictures[:2]}, {"logits": {0: "batch_size"}}, tmp_path / "model.onnx"
        )
    assert steps in str(failed.value)
    assert export.newer_version(opset) is None
    assert not (tmp_path / "model.onnx").exists()


def test_the_newer_exporter_does_what_the_older_cannot(registers, tmp_path):
    pytest.importorskip(export.NEWER_LIBRARY)
    spec, pictures = registers
    path = tmp_path / "model.onnx"
    write_export(spec, 18, {"pixel_values": pictures[:2]}, {"logits": {0: "batch_size"}}, path)
    inputs = [value.type.tensor_type.shape.dim[0].dim_param for value in onnx.load(path).graph.input]
    assert inputs == ["batch_size"]
    options = {"optimization_level": 99}
    exported = registry.runtime("onnxruntime").load(
        ArmSpec(runtime="onnxruntime", path=str(path), sha256="", options=options), 1
    )
    original = registry.runtime("pytorch").load(spec, 1)
    for batch in (pictures[:1], pictures):
        [wanted], [got] = original.predict({"pixel_values": batch}), exported.predict({"pixel_values": batch})
        assert np.abs(got - wanted).max() < 1e-4


def test_a_mixture_of_experts_is_exported_without_a_loop_over_them(tmp_path):
    architecture = next(one for one in ARCHITECTURES if one.name == "Qwen3 MoE")
    write(architecture, tmp_path, count=2)
    options = {"auto_class": AUTO_CLASSES[architecture.task]}
    spec = ArmSpec(runtime="pytorch", path=str(tmp_path / "model"), sha256="", options=options)
    path = tmp_path / "model.onnx"
    given = {name: value for name, value in tiny_inputs(2, 8).items() if name != "token_type_ids"}
    write_export(spec, 17, given, {"logits": {0: "batch_size"}}, path)
    exported = registry.runtime("onnxruntime").load(
        ArmSpec(runtime="onnxruntime", path=str(path), sha256="", options={"optimization_level": 99}), 1
    )
    original = registry.runtime("pytorch").load(spec, 1)
    for seed, shape in enumerate(((1, 3), (3, 40))):  # where other experts have other numbers of tokens
        inputs = {name: value for name, value in tiny_inputs(*shape, seed).items() if name != "token_type_ids"}
        [wanted], [got] = original.predict(inputs), exported.predict(inputs)
        assert np.abs(got - wanted).max() < 1e-4

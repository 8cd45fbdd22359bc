"""What ``tune`` has to choose from: the proposals of the quantizers of every runtime that is installed."""

import pytest
from tests.support.searches import OF_ONNXRUNTIME

from quantbench.config import rules
from quantbench.config.load import build_config
from quantbench.plugins import registry
from quantbench.tune import candidates

BASE = build_config(
    {
        "task": "token-classification",
        "model_name_or_path": "m",
        "dataset": {"path": "p", "calibration_split": "train"},
        "calibration": {"num_calibration_samples": 33, "seed": 4, "padding": "max_length"},
    },
    {},
    "x.yaml",
).base
PICTURES = BASE.model_copy(update={"task": "image-classification"})
BFLOAT16 = ("avx2", "amx_bf16")


def of_openvino(precision):
    return [f"openvino-static-{precision}", f"openvino-nncf-{precision}", f"openvino-{precision}"]


@pytest.mark.parametrize(
    ("sets", "names"),
    [
        (("avx2",), [*OF_ONNXRUNTIME, *of_openvino("float32")]),
        (BFLOAT16, [*OF_ONNXRUNTIME, *of_openvino("bfloat16"), *of_openvino("float32")]),
    ],
)
def test_the_candidates_of_a_host(sets, names):
    assert [item.name for item in candidates.candidates_for(BASE, sets)] == names


def test_pictures_have_a_candidate_with_convolutions():
    found = {item.name: item for item in candidates.candidates_for(PICTURES, ("avx2",))}
    assert found["onnxruntime-static-conv"].settings.operators_to_quantize == ("Conv", "Gemm", "MatMul")
    assert found.keys() - {"onnxruntime-static-conv"} == {*OF_ONNXRUNTIME, *of_openvino("float32")}


@pytest.mark.parametrize(("asked", "used"), [(11, 17), (17, 17), (18, 18), (20, 20)])
def test_a_higher_opset_that_is_asked_for_is_used(asked, used):
    args = BASE.framework_args.model_copy(update={"opset": asked})
    assert candidates.opset_for(BASE.model_copy(update={"framework_args": args})) == used


def test_candidates_have_the_opset_of_their_base():
    args = BASE.framework_args.model_copy(update={"opset": 11})
    found = candidates.candidates_for(BASE.model_copy(update={"framework_args": args}), BFLOAT16)
    assert {item.settings.framework_args.opset for item in found} == {11}


@pytest.mark.parametrize("base", [BASE, PICTURES])
def test_every_candidate_breaks_no_rule(base):
    for item in candidates.candidates_for(base, BFLOAT16):
        assert rules.broken(item.settings) == [], item.name


def test_what_is_treated_gently_takes_the_time_of_another_candidate():
    found = {item.name: item for item in candidates.candidates_for(BASE, BFLOAT16)}
    assert {name: item.instead for name, item in found.items() if item.mode} == {
        "onnxruntime-dynamic": "",
        "onnxruntime-dynamic-merged": "",
        "onnxruntime-static": "onnxruntime-dynamic",
        "onnxruntime-static-merged": "onnxruntime-dynamic-merged",
        "openvino-static-bfloat16": "openvino-bfloat16",
        "openvino-static-float32": "openvino-float32",
    }
    gentle = found["onnxruntime-static"].version(["/a/MatMul", "[b]"])
    assert gentle.placement.matmuls == {"/a/MatMul": "dynamic", "[[]b]": "dynamic"}


def test_static_ranges_are_of_least_error_from_unpadded_sentences():
    found = {item.name: item.settings.calibration for item in candidates.candidates_for(BASE, ())}
    for name in ("onnxruntime-static", "openvino-static-float32"):
        assert (found[name].method, found[name].padding, found[name].seed) == ("mse", "none", 4)
    assert found["openvino-nncf-float32"].num_calibration_samples == 33


def test_a_runtime_whose_library_is_missing_proposes_nothing(monkeypatch):
    monkeypatch.setattr(registry.runtime("openvino"), "LIBRARIES", ("no_library_has_this_name",))
    assert [item.name for item in candidates.candidates_for(BASE, ())] == OF_ONNXRUNTIME


def test_a_quantizer_whose_library_is_missing_proposes_nothing(monkeypatch):
    """OpenVINO alone loads and times models; NNCF is what makes one of its forms of int8."""
    monkeypatch.setattr(registry.quantizer("nncf"), "LIBRARIES", ("openvino", "no_library_has_this_name"))
    names = [item.name for item in candidates.candidates_for(BASE, ())]
    assert names == [*OF_ONNXRUNTIME, "openvino-static-float32", "openvino-float32"]


def test_no_candidate_is_trained_whatever_the_configuration_says():
    base = BASE.model_copy(update={"aware_training": True})
    assert not any(item.settings.aware_training for item in candidates.candidates_for(base, ("avx2",)))

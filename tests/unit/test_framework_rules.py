"""What each framework takes: rules, options of its arms, and what the card says of them."""

from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import ENVIRONMENT, done, reference_config

from quantbench.analysis import speedups
from quantbench.config.estimate import estimate
from quantbench.config.load import build_config
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.plugins import registry
from quantbench.reports import _sections
from quantbench.runtimes._caps import UNCAPPED
from quantbench.runtimes.onnxruntime import SessionOptions
from quantbench.runtimes.openvino import PARTLY_CAPPED
from quantbench.system.environment import detect

BASE = {
    "task": "token-classification",
    "model_name_or_path": "m",
    "dataset": {"path": "p", "calibration_split": "train"},
}
NNCF = {"framework": "openvino", "quantization_approach": "static"}
STATIC_PRODUCTS = {"default": "static"}
PLAIN_SESSION = SessionOptions().model_dump()
SESSION = st.fixed_dictionaries(
    {},
    optional={name: st.integers(0, 64) if name == "dynamic_block_base" else st.booleans() for name in PLAIN_SESSION},
)


def config(**changes):
    return build_config({**BASE, **changes}, {}, "x.yaml")


def settings(**changes):
    return config(**changes).base


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"framework_args": {"precision": "bfloat16"}}, "ONNX Runtime has no bfloat16 kernels"),
        ({"framework": "pytorch", "quantization_approach": "none"}, "is the original itself"),
        ({"framework": "pytorch", "quantization_approach": "dynamic"}, "only: none"),
        ({"framework": "openvino", "quantization_approach": "dynamic"}, "only: static, mixed, none"),
        ({"framework": "openvino", "quantization_approach": "mixed"}, "no fast kernel"),
        (
            {
                "framework": "openvino",
                "quantization_approach": "mixed",
                "placement": {"default": "static", "matmuls": {"*": "dynamic"}},
            },
            "set placement.default and all of placement.matmuls",
        ),
        ({**NNCF, "framework_args": {"optimization_level": 1}}, "optimization_level belongs to framework onnxruntime"),
        (
            {**NNCF, "framework_args": {"session_options": {"allow_spinning": False}}},
            "belongs to framework onnxruntime",
        ),
        (
            {
                "framework": "openvino",
                "quantization_approach": "mixed",
                "placement": {"default": "static", "operators": "onnxruntime"},
            },
            "not known to framework openvino; use standard",
        ),
        (
            {
                **NNCF,
                "framework_args": {"precision": "bfloat16"},
                "backend": {"name": "local", "args": {"supported_instructions": "avx2"}},
            },
            "OpenVINO needs avx512 for bfloat16",
        ),
        ({"framework_args": {"preset": "performance"}}, "preset belongs to framework openvino, not onnxruntime"),
        ({"framework_args": {"smooth_quant_alpha": 0.5}}, "belongs to framework openvino"),
        (
            {"framework": "openvino", "quantization_approach": "none", "framework_args": {"preset": "performance"}},
            "preset belongs to quantization_approach static, not none",
        ),
        ({**NNCF, "operators_to_quantize": ["MatMul", "MatMul"]}, "NNCF decides operators_to_quantize"),
        ({**NNCF, "node_exclusion": ["gelu"]}, "NNCF decides node_exclusion"),
        ({**NNCF, "per_channel": True}, "NNCF decides per_channel"),
        ({**NNCF, "activation_type": "int8"}, "NNCF decides activation_type"),
        ({**NNCF, "weight_type": "int8"}, "NNCF decides weight_type"),
        ({**NNCF, "calibration": {"method": "percentile"}}, "NNCF decides calibration.method"),
        ({**NNCF, "calibration": {"moving_average": True}}, "NNCF decides calibration.moving_average"),
        ({**NNCF, "framework_args": {"smooth_quant_alpha": 2}}, "smooth_quant_alpha"),
        ({**NNCF, "framework_args": {"smooth_quant_alpha": True}}, "smooth_quant_alpha"),
        ({**NNCF, "framework_args": {"preset": "fast"}}, "preset"),
        (
            {"framework_args": {"session_options": {"allow_spining": False}}},
            "did you mean 'framework_args.session_options.allow_spinning'",
        ),
        ({"framework_args": {"session_options": {"dynamic_block_base": -1}}}, "dynamic_block_base is -1"),
    ],
)
def test_what_a_framework_cannot_do_is_refused(changes, words):
    with pytest.raises(BadInput, match=words):
        config(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        NNCF,
        {**NNCF, "framework_args": {"preset": "performance", "smooth_quant_alpha": 0, "precision": "bfloat16"}},
        {"framework": "openvino", "quantization_approach": "mixed", "placement": STATIC_PRODUCTS, "per_channel": True},
        {"framework": "openvino", "quantization_approach": "none", "framework_args": {"precision": "bfloat16"}},
        {"framework": "pytorch", "quantization_approach": "none", "framework_args": {"precision": "bfloat16"}},
    ],
)
def test_what_a_framework_can_do_is_planned(changes):
    assert len(make_plan(config(**changes)).runs) == 1


def test_in_a_grid_only_the_combinations_that_cannot_be_are_skipped():
    made = config(
        benchmarked={
            "framework": ["onnxruntime", "openvino", "pytorch"],
            "quantization_approach": ["none", "dynamic", "static"],
            "framework_args.precision": ["float32", "bfloat16"],
        }
    )
    runs = {tuple(run.benchmarked.values()) for run in make_plan(made).runs}
    assert runs == {
        *(("onnxruntime", approach, "float32") for approach in ("none", "dynamic", "static")),
        *(("openvino", approach, kind) for approach in ("none", "static") for kind in ("float32", "bfloat16")),
        ("pytorch", "none", "bfloat16"),
    }


@given(chosen=SESSION)
def test_exactly_the_session_options_that_differ_reach_the_arm_and_the_card(chosen):
    made = config(framework_args={"session_options": chosen})
    differing = {name: value for name, value in chosen.items() if value != PLAIN_SESSION[name]}
    options = registry.runtime("onnxruntime").options(made.base)
    assert options.get("session_options", {}) == differing
    card = registry.report("card").render(made, [], ())
    for name in PLAIN_SESSION:
        line = f"    * **session_options.{name}**: `{chosen.get(name)}`"
        assert (line in card) == (name in differing)


def test_session_options_can_be_benchmarked_one_by_one():
    made = config(benchmarked={"framework_args.session_options.allow_spinning": [True, False]})
    names = [run.name for run in make_plan(made).runs]
    assert names == ["allow_spinning-true", "allow_spinning-false"]


def test_the_precision_is_part_of_an_arms_options():
    lowered = {"quantization_approach": "none", "framework_args": {"precision": "bfloat16"}}
    pytorch, openvino = registry.runtime("pytorch"), registry.runtime("openvino")
    assert pytorch.options(settings(framework="pytorch", **lowered))["precision"] == "bfloat16"
    assert "precision" not in pytorch.options(settings())
    assert openvino.options(settings(framework="openvino", **lowered)) == {"precision": "bfloat16"}


@pytest.mark.parametrize(
    ("framework", "operator", "integer"),
    [
        ("onnxruntime", "QLinearMatMul", True),
        ("onnxruntime", "MatMulIntegerToFloat", True),
        ("onnxruntime", "DynamicQuantizeMatMul", True),
        ("onnxruntime", "DynamicQuantizeLinear", False),
        ("openvino", "FullyConnected [u8]", True),
        ("openvino", "FullyConnected [i8]", True),
        ("openvino", "FullyConnected [f32]", False),
        ("openvino", "MatMul [bf16]", False),
        ("openvino", "Reorder [u8]", False),
        ("openvino", "Transpose [i8]", False),
        ("openvino", "Eltwise [u8]", False),
        ("openvino", "Subgraph [i8]", True),
    ],
)
def test_operators_that_compute_on_integers_are_known(framework, operator, integer):
    assert registry.runtime(framework).is_integer(operator) == integer


def notes(settings, environment):
    """What the settings' runtime says of a machine."""
    return registry.runtime(settings.framework).notes(settings, environment)


def capable(*sets):
    return ENVIRONMENT.model_copy(update={"instruction_sets": ("avx2", "avx512", *sets)})


@pytest.mark.parametrize("framework", ["openvino", "pytorch"])
def test_bfloat16_that_the_cpu_does_not_have_is_noted(framework):
    lowered = settings(framework=framework, quantization_approach="none", framework_args={"precision": "bfloat16"})
    [note] = notes(lowered, capable("avx512_vnni"))
    assert "bfloat16 without avx512_bf16" in note
    assert notes(lowered, capable("avx512_bf16")) == ()
    assert notes(lowered, capable("amx_bf16")) == ()
    capped = capable("avx512_bf16").model_copy(update={"cap": "avx512"})
    assert note in notes(lowered, capped)


def test_only_what_was_not_capped_is_said_to_be():
    capped = capable().model_copy(update={"cap": "avx2"})
    assert UNCAPPED in notes(settings(), capped)
    assert notes(settings(**NNCF), capped) == (PARTLY_CAPPED,)
    assert notes(settings(**NNCF), capable()) == ()


def test_arms_of_different_frameworks_are_counted_apart():
    made = config(quantization_approach="static", benchmarked={"framework": ["onnxruntime", "openvino"]})
    shared = estimate(make_plan(made).runs)
    assert (shared.exports, shared.originals, shared.timed_arms) == (1, 1, 2 + 2 + 2)
    lowered = {"framework_args.precision": ["float32", "bfloat16"]}
    made = config(benchmarked={"framework": ["onnxruntime", "pytorch"], "quantization_approach": ["none"], **lowered})
    shared = estimate(make_plan(made).runs)
    assert shared.timed_arms == 2 + 1 + 2, "the float export beside PyTorch is ONNX Runtime's"


def test_the_same_graph_in_another_framework_is_no_twin():
    made = reference_config("benchmarked.node_exclusion=[[], [gelu]]", "operators_to_quantize=[MatMul]")
    results = [done(run, 0) for run in make_plan(made).runs]
    assert speedups.twins(results) == {results[1].run.key: results[0].run.name}
    moved = results[1].run.settings.model_copy(update={"framework": "openvino"})
    other = results[1].model_copy(update={"run": results[1].run.model_copy(update={"settings": moved})})
    assert speedups.twins([results[0], other]) == {}


def test_the_card_of_nncf_shows_no_setting_that_nncf_decides():
    made = config(**NNCF, framework_args={"preset": "performance"})
    card = registry.report("card").render(made, [done(run, 0) for run in make_plan(made).runs], ())
    for name in ("operators_to_quantize", "per_channel", "node_exclusion", "optimization_level", "method"):
        assert f"* **{name}**" not in card
    assert "    * **preset**: `performance`" in card
    assert "NNCF chose operators" in card
    assert "OpenVINO's executable graph" in card


def test_the_precision_of_the_rest_stands_beside_the_number_types():
    made = config(**NNCF)
    [run] = make_plan(made).runs
    result = done(run, 0)
    recipe = {"activation_type": "uint8", "weight_type": "int8", "precision": "bfloat16"}
    mixed = result.model_copy(update={"artifact": result.artifact.model_copy(update={"recipe": recipe})})
    assert "uint8, int8, else bfloat16" in _sections.made_table(made, [mixed])
    whole = {**recipe, "activation_type": "bfloat16", "weight_type": "bfloat16"}
    plain = result.model_copy(update={"artifact": result.artifact.model_copy(update={"recipe": whole})})
    assert "bfloat16, bfloat16 " in _sections.made_table(made, [plain])


@pytest.mark.parametrize("library", ["openvino", "nncf"])
def test_versions_of_the_extras_are_recorded(library):
    assert detect().versions[library] == version(library)

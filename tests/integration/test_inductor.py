"""PyTorch compiled ahead of time gives what eager PyTorch gives, whatever the shape, and says what it needs."""

import shutil

import numpy as np
import pytest
from tests.architectures import rows
from tests.architectures.listed import ARCHITECTURES
from tests.architectures.made import write
from tests.support import stages

from quantbench.config.plan import run_of
from quantbench.errors import BadInput, RunFailed
from quantbench.pipeline.load import load_model
from quantbench.plugins import registry

SHAPES = ((1, 1), (1, 7), (2, 5), (4, 30))


def settings_of(name, folder, **changes):
    architecture = next(one for one in ARCHITECTURES if one.name == name)
    given = {"framework": "inductor", "quantization_approach": "none", **changes}
    return rows.settings_of(write(architecture, folder), rows.default_opset(), **given).base


def differences(settings, folder):
    """By shape, how far the compiled model's outputs are from those of eager PyTorch, as a share of these."""
    context = stages.context_at(folder / "cache")
    model = load_model(settings.sources, context)
    _, arm = stages.optimized(run_of(settings), folder / "models", context)
    compiled = registry.runtime("inductor").load(arm, 2)
    eager = registry.runtime("pytorch").load(model.original, 2)
    for shape in SHAPES:
        inputs = model.processor.exact_inputs(*shape, seed=0)
        for one, other in zip(compiled.predict(inputs), eager.predict(inputs), strict=True):
            assert one.shape == other.shape and one.dtype == np.float32
            yield rows.apart(other, one)


@pytest.mark.slow
def test_a_compiled_model_gives_what_eager_pytorch_gives(tmp_path):
    assert max(differences(settings_of("BERT", tmp_path), tmp_path)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DistilBERT", "XLM-R", "ModernBERT", "T5 tagger"])
def test_other_families_can_be_compiled(name, tmp_path):
    assert max(differences(settings_of(name, tmp_path), tmp_path)) <= 1e-5


@pytest.mark.slow
def test_pictures_can_be_compiled(tmp_path):
    assert max(differences(settings_of("ViT", tmp_path), tmp_path)) <= 1e-5


@pytest.mark.slow
def test_bfloat16_is_compiled_in(tmp_path):
    settings = settings_of("BERT", tmp_path)
    lowered = settings.model_copy(
        update={"framework_args": settings.framework_args.model_copy(update={"precision": "bfloat16"})}
    )
    assert 1e-5 < max(differences(lowered, tmp_path)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("approach", ["static", "dynamic"])
def test_torchao_makes_int8_of_it(approach, tmp_path):
    pytest.importorskip("torchao")
    changes = {"quantization_approach": approach, "calibration": {"num_calibration_samples": 8}}
    settings = settings_of("BERT", tmp_path, **changes)
    found = max(differences(settings, tmp_path))
    assert 1e-4 < found <= rows.APART


def test_what_torchao_decides_is_refused(tmp_path):
    with pytest.raises(BadInput, match="torchao decides per_channel by itself; remove it"):
        settings_of("BERT", tmp_path, quantization_approach="static", per_channel=True)


def test_without_a_compiler_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RunFailed, match="needs a C\\+\\+ compiler"):
        stages.optimized(
            run_of(settings_of("BERT", tmp_path)), tmp_path / "models", stages.context_at(tmp_path / "cache")
        )


def test_what_changes_the_graph_is_refused(tmp_path):
    with pytest.raises(BadInput, match="inductor runs the checkpoint as it is, which positions: read would change"):
        settings_of("BERT", tmp_path, positions="read")

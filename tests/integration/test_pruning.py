"""Pruning real models: neurons are found in every family, taken, repaired, and less is lost than without repair."""

import numpy as np
import pytest
from tests.architectures import rows
from tests.architectures.listed import ARCHITECTURES
from tests.architectures.made import write
from tests.support import stages

from quantbench import embedded
from quantbench.config.keys import combinations
from quantbench.config.load import load_config
from quantbench.config.plan import run_of
from quantbench.errors import RunFailed
from quantbench.graph import external
from quantbench.pipeline.load import load_model
from quantbench.pipeline.pruning import pruned, units_of
from quantbench.quantize.pruning import repair

FAMILIES = (
    *("BERT", "DistilBERT", "RoBERTa", "XLM-R", "ELECTRA", "MPNet", "DeBERTa-v2", "CamemBERT", "ERNIE"),
    *("ModernBERT", "MegatronBERT", "ViT", "DeiT", "T5 tagger"),
)


HEADS_TOO = ("BERT", "DistilBERT", "RoBERTa", "XLM-R", "ELECTRA", "CamemBERT", "ERNIE", "MegatronBERT", "ViT", "DeiT")


def layers(path, model, kind="ffn"):
    return {units.name: units.count for units in units_of(external.read(path), model) if units.kind == kind}


@pytest.mark.parametrize("name", FAMILIES)
def test_neurons_of_a_family_are_taken(name, tmp_path):
    architecture = next(one for one in ARCHITECTURES if one.name == name)
    context = stages.context_at(tmp_path / "cache")
    folder = write(architecture, tmp_path)
    wanted = {"ffn": 0.5, "samples": 4}
    settings = rows.settings_of(folder, rows.default_opset(), quantization_approach="none", pruning=wanted).base
    exported, model = stages.float_model(settings, context), load_model(settings.sources, context)
    before = layers(exported.path, model)
    found = pruned(exported, settings.sources, settings.recipe, model, context)
    after = layers(found.path, model)
    assert before
    assert after.keys() == before.keys()
    assert sum(after.values()) <= 0.75 * sum(before.values())
    _, arm = stages.optimized(run_of(settings), tmp_path / "models", context)
    values = rows.outputs(arm, settings, context)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("name", HEADS_TOO)
def test_heads_of_a_family_are_taken(name, tmp_path):
    architecture = next(one for one in ARCHITECTURES if one.name == name)
    context = stages.context_at(tmp_path / "cache")
    folder = write(architecture, tmp_path)
    wanted = {"heads": 0.5, "samples": 4}
    settings = rows.settings_of(folder, rows.default_opset(), quantization_approach="none", pruning=wanted).base
    exported, model = stages.float_model(settings, context), load_model(settings.sources, context)
    before = layers(exported.path, model, "heads")
    found = pruned(exported, settings.sources, settings.recipe, model, context)
    after = layers(found.path, model, "heads")
    assert before
    assert sum(after.values()) < sum(before.values())
    _, arm = stages.optimized(run_of(settings), tmp_path / "models", context)
    assert np.isfinite(rows.outputs(arm, settings, context)).all()


def test_a_model_whose_layers_share_their_weights_is_refused(tmp_path):
    architecture = next(one for one in ARCHITECTURES if one.name == "ALBERT")
    context = stages.context_at(tmp_path / "cache")
    wanted = {"ffn": 0.5, "samples": 4}
    settings = rows.settings_of(
        write(architecture, tmp_path), rows.default_opset(), quantization_approach="none", pruning=wanted
    ).base
    with pytest.raises(RunFailed, match="no feed-forward layer of a known form"):
        stages.optimized(run_of(settings), tmp_path / "models", context)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    overrides = [
        *("quantization_approach=none", "pruning={ffn: 0.4, samples: 64}", "max_eval_samples=200", "batch_sizes=[]"),
        *("framework_args.opset=17", "benchmarked={}"),
    ]
    _, settings = next(combinations(load_config(embedded.CONFIG, overrides)))
    return settings, stages.context_at(tmp_path_factory.mktemp("cache"))


def test_repair_gives_back_what_pruning_lost(demo, tmp_path, monkeypatch):
    settings, context = demo
    exported, model = stages.float_model(settings, context), load_model(settings.sources, context)
    original = stages.scores(stages.exported(settings, context), settings, context).metrics["f1"]

    def f1(folder):
        _, arm = stages.optimized(run_of(settings), folder, context)
        return stages.scores(arm, settings, context).metrics["f1"]

    repaired = f1(tmp_path / "repaired")
    shorter = pruned(exported, settings.sources, settings.recipe, model, context)
    before, after = layers(exported.path, model), layers(shorter.path, model)
    assert 0.55 <= sum(after.values()) / sum(before.values()) <= 0.65
    monkeypatch.setattr(repair, "fitted", lambda together, weights, stay: weights[stay])
    context = stages.context_at(tmp_path / "other")
    plain = f1(tmp_path / "plain")
    assert repaired > original - 0.03
    assert repaired > plain, "what stays makes up for what was taken"

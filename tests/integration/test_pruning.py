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
from quantbench.graph.units import cut
from quantbench.graph.view import Graph
from quantbench.pipeline.calibrate import choose_samples
from quantbench.pipeline.export import export
from quantbench.pipeline.load import load_model
from quantbench.pipeline.pruning import pruned, units_of
from quantbench.plugins.quantizing import Samples
from quantbench.quantize import sessions
from quantbench.quantize.pruning import repair
from quantbench.schema.settings import Calibration

FAMILIES = (
    *("BERT", "DistilBERT", "RoBERTa", "XLM-R", "ELECTRA", "MPNet", "DeBERTa-v2", "CamemBERT", "ERNIE"),
    *("ModernBERT", "MegatronBERT", "ViT", "DeiT", "T5 tagger"),
)
HEADS_TOO = ("BERT", "DistilBERT", "RoBERTa", "XLM-R", "ELECTRA", "CamemBERT", "ERNIE", "MegatronBERT", "ViT", "DeiT")


def layers(path, model, kind):
    return {units.name: units.count for units in units_of(external.read(path), model) if units.kind == kind}


@pytest.mark.parametrize(
    ("kind", "name"), [*(("ffn", name) for name in FAMILIES), *(("heads", name) for name in HEADS_TOO)]
)
def test_units_of_a_family_are_taken(kind, name, tmp_path):
    architecture = next(one for one in ARCHITECTURES if one.name == name)
    context = stages.context_at(tmp_path / "cache")
    folder = write(architecture, tmp_path)
    wanted = {kind: 0.5, "samples": 4}
    settings = rows.settings_of(folder, rows.default_opset(), quantization_approach="none", pruning=wanted).base
    exported, model = stages.float_model(settings, context), load_model(settings.sources, context)
    before = layers(exported.path, model, kind)
    found = pruned(exported, settings.sources, settings.recipe, model, context)
    after = layers(found.path, model, kind)
    assert before
    assert after.keys() == before.keys() or kind == "heads", "of one head the axes of heads and values are the same"
    assert sum(after.values()) <= 0.75 * sum(before.values())
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


def test_repair_gives_back_much_of_what_was_taken(tmp_path):
    """On texts of which it has seen none, whichever neurons are taken."""
    overrides = ["quantization_approach=none", "framework_args.opset=17", "benchmarked={}"]
    _, settings = next(combinations(load_config(embedded.CONFIG, overrides)))
    context = stages.context_at(tmp_path / "cache")
    model = load_model(settings.sources, context)
    given = external.read(export(model, settings.task, 17, context).path)
    chosen = choose_samples(settings.sources, Calibration(num_calibration_samples=60), model, context).read()
    fitted, others = Samples(48, chosen.batch), [chosen.sample(index) for index in range(48, 60)]
    layers = [units for units in units_of(given, model) if units.kind == "ffn"][:3]
    drawn = np.random.default_rng(0)
    stay = {units: np.sort(drawn.permutation(units.count)[: units.count * 7 // 10]) for units in layers}
    repaired = repair.shortened(given, stay, fitted, context.threads, lambda _: None)
    plain = given
    for units, numbers in stay.items():
        plain = cut(plain, units, numbers, units.matrix(Graph(given))[numbers])

    def logits(graph):
        session = sessions.of_graph(graph, 99, context.threads)
        return np.concatenate([session.run(None, dict(inputs))[0][0] for inputs in others])

    original = logits(given)
    lost = [np.square(logits(graph) - original).mean() for graph in (repaired, plain)]
    assert lost[0] < 0.5 * lost[1]

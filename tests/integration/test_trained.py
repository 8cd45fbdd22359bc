"""Training real models without labels: graphs run in torch as they run elsewhere, and lose less once they have learned."""

import numpy as np
import onnx
import pytest
import torch
from tests.architectures import rows
from tests.architectures.listed import ARCHITECTURES
from tests.architectures.made import write
from tests.support import stages

from quantbench import embedded
from quantbench.config.keys import combinations
from quantbench.config.load import load_config
from quantbench.config.plan import run_of
from quantbench.errors import BadInput
from quantbench.graph import external
from quantbench.pipeline import distilled as training
from quantbench.pipeline.graph_runs import outputs
from quantbench.pipeline.load import load_model
from quantbench.quantize.training.graph import TrainedGraph

FAMILIES = (
    *("BERT", "DistilBERT", "RoBERTa", "XLM-R", "ALBERT", "ELECTRA", "MPNet", "DeBERTa", "DeBERTa-v2", "CamemBERT"),
    *(
        "ERNIE",
        "ModernBERT",
        "MegatronBERT",
        "T5 tagger",
        "ViT",
        "DeiT",
        "Swin",
        "ConvNeXt",
        "GPT-2 padded on the right",
    ),
)
WAYS = {
    "none": {"pruning": {"ffn": 0.5, "samples": 8}},
    "dynamic": {},
    "static": {"calibration": {"num_calibration_samples": 8}},
    "mixed": {"placement": {"default": "static"}, "calibration": {"num_calibration_samples": 8, "method": "mse"}},
}


def architecture(name):
    return next(one for one in ARCHITECTURES if one.name == name)


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize("name", FAMILIES)
def test_torch_gives_what_the_runtime_gives_and_leads_back_to_every_product(name, opset, tmp_path):
    context = stages.context_at(tmp_path / "cache")
    settings = rows.settings_of(write(architecture(name), tmp_path), opset, quantization_approach="none").base
    given = external.read(stages.float_model(settings, context).path)
    inputs = load_model(settings.sources, context).processor.exact_inputs(2, 7, seed=0)
    graph, names = TrainedGraph(given), [item.name for item in given.graph.output]
    found = graph.run({key: torch.from_numpy(array) for key, array in inputs.items()}, names, {})
    for key, expected in zip(names, outputs(given, inputs), strict=True):
        value = found[key].detach().numpy()
        assert value.shape == expected.shape
        assert np.abs(value - expected).max() <= 1e-4 * np.abs(expected).max()
    sum(value.square().sum() for value in found.values()).backward()
    assert graph.weights
    lost = [key for key, weight in graph.weights.items() if weight.ndim == 2 and weight.grad is None]
    assert not lost


@pytest.mark.parametrize("approach", WAYS)
def test_a_version_that_has_learned_is_as_near_to_the_original(approach, tmp_path):
    changes = {"quantization_approach": approach, **WAYS[approach]}
    learned = {"aware_training": True, "aware_training_args": {"minutes": 0.02, "learning_rate": 0.003}}
    written = write(architecture("BERT"), tmp_path, count=60)
    context = stages.context_at(tmp_path / "cache")
    settings = rows.settings_of(written, rows.default_opset(), **changes, **learned).base
    artifact, arm = stages.optimized(run_of(settings), tmp_path / "models", context)
    told = artifact.recipe["training"]
    assert told["steps"] >= 1
    assert told["after"] <= told["before"]
    plain = settings.model_copy(update={"aware_training": False})
    untrained, other = stages.optimized(run_of(plain), tmp_path / "models", context)
    assert "training" not in untrained.recipe
    assert untrained.operators == artifact.operators
    floats = rows.outputs(stages.exported(settings, context), settings, context)
    apart = [rows.apart(floats, rows.outputs(one, settings, context)) for one in (arm, other)]
    assert apart[0] < max(rows.APART, apart[1]), "little is lost by a model this small, trained or not"


@pytest.mark.slow
def test_training_gives_back_what_pruning_took_of_a_real_model(tmp_path):
    """Of the embedded model, which without half of its neurons changes many answers."""
    overrides = [
        *("quantization_approach=none", "benchmarked={}", "batch_sizes=[]", "max_eval_samples=600"),
        *("pruning={ffn: 0.6}", "aware_training_args={minutes: 1.5}", "framework_args.opset=17"),
    ]
    _, settings = next(combinations(load_config(embedded.CONFIG, overrides)))
    context = stages.context_at(tmp_path / "cache")
    trained = settings.model_copy(update={"aware_training": True})
    artifact, arm = stages.optimized(run_of(trained), tmp_path / "models", context)
    _, other = stages.optimized(run_of(settings), tmp_path / "models", context)
    assert artifact.recipe["training"]["after"] < 0.8 * artifact.recipe["training"]["before"]
    after, before = (stages.scores(one, settings, context).metrics["f1"] for one in (arm, other))
    assert after > before


def test_it_is_done_once_and_gone_on_with(tmp_path, monkeypatch):
    learned = {"aware_training": True, "aware_training_args": {"minutes": 0.01}}
    written = write(architecture("BERT"), tmp_path)
    settings = rows.settings_of(written, rows.default_opset(), quantization_approach="none", **learned).base
    first, _ = stages.optimized(run_of(settings), tmp_path / "models", stages.context_at(tmp_path / "cache"))
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained again"))
    again, _ = stages.optimized(run_of(settings), tmp_path / "models", stages.context_at(tmp_path / "cache"))
    assert (again.sha256, again.recipe["training"]) == (first.sha256, first.recipe["training"])


def test_a_damaged_model_is_trained_anew_once(tmp_path, monkeypatch):
    learned = {"aware_training": True, "aware_training_args": {"minutes": 0.01}}
    written = write(architecture("BERT"), tmp_path)
    settings = rows.settings_of(written, rows.default_opset(), quantization_approach="none", **learned).base

    def made():
        return stages.optimized(run_of(settings), tmp_path / "models", stages.context_at(tmp_path / "cache"))[0]

    made()
    (file,) = (tmp_path / "cache" / "distilled").glob("*/model.onnx")
    assert not list(file.parent.glob("*.pt")), "the state is of no use any more"
    file.write_bytes(file.read_bytes()[:-9])
    second = made()
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained a third time"))
    assert made().recipe["training"] == second.recipe["training"]


def test_what_was_rounded_in_training_is_what_the_quantizer_rounds(tmp_path):
    """As many products as the version has in int8, but for those of attention's two computed tensors."""
    written, context = write(architecture("BERT"), tmp_path), stages.context_at(tmp_path / "cache")
    changes = {"quantization_approach": "static", "calibration": {"num_calibration_samples": 8}}
    settings = rows.settings_of(written, rows.default_opset(), **changes).base
    exported = stages.float_model(settings, context)
    given, model = external.read(exported.path), load_model(settings.sources, context)
    found = training._rounding(given, exported, settings, frozenset(), model, context)
    artifact, _ = stages.optimized(run_of(settings), tmp_path / "models", context)
    assert len(found) == artifact.operators["MatMul"] - attentions(given)
    kept = frozenset(list(found)[:2])
    assert training._rounding(given, exported, settings, kept, model, context).keys() == found.keys() - kept


def attentions(given: onnx.ModelProto) -> int:
    """Products of two computed tensors."""
    constants = {item.name for item in given.graph.initializer}
    return sum(node.op_type == "MatMul" and not constants & set(node.input) for node in given.graph.node)


def test_a_checkpoint_is_not_trained(tmp_path):
    changes = {"framework": "pytorch", "quantization_approach": "none", "aware_training": True}
    written = write(architecture("BERT"), tmp_path)
    with pytest.raises(BadInput, match="aware_training would change"):
        rows.settings_of({**written, **changes}, rows.default_opset(), framework_args={"precision": "bfloat16"})

"""``quantbench why`` on tiny models: planted outliers are named, and bad input is one clear message."""

import shutil

import pytest
import torch
from tests.integration.conftest import write_tiny_config
from tests.support import stages
from tests.support.command import quantbench
from tests.support.example_results import done
from tests.support.tiny_models import CONLL_LABELS, write_tiny_distilbert
from transformers import AutoModelForTokenClassification

import quantbench as qb
from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.diagnose.run import diagnose
from quantbench.errors import BadInput
from quantbench.pipeline.load import fingerprints, load_model
from quantbench.results.store import Store
from quantbench.schema.results import Result

CHANNELS = (3, 17, 29)
TIMES = (80.0, 60.0, 70.0)


def planted(folder, channels):
    """A tiny model with definite predictions whose last normalization has outlying channels.

    The classifier's weights make up for them, so that the float model computes the same with and without.
    """
    write_tiny_distilbert(folder, CONLL_LABELS)
    model = AutoModelForTokenClassification.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
        last = model.distilbert.transformer.layer[-1].output_layer_norm
        for channel, times in zip(channels, TIMES, strict=False):
            last.weight[channel] *= times
            last.bias[channel] *= times
            model.classifier.weight[:, channel] /= times
    model.save_pretrained(folder)
    return folder


def settled(tiny, folder, channels, **changes):
    """A run on a planted model, its int8 file, and the context; not timed."""
    folder.mkdir()
    model = planted(folder / "model", channels)
    changes = {"operators_to_quantize": ["MatMul"], **changes}
    path = write_tiny_config(tiny, folder / "planted.yaml", model_name_or_path=str(model), **changes)
    (run,) = make_plan(load_config(path)).runs
    context = stages.context_at(folder / "cache")
    stages.optimized(run, folder / "models", context)
    return run, folder / "models" / run.name / "model.onnx", context


@pytest.mark.parametrize(
    "changes",
    [{}, {"quantization_approach": "mixed", "placement": {"default": "static"}}],
    ids=["static", "mixed"],
)
def test_planted_channels_are_named_and_nothing_else(tiny, tmp_path, changes):
    found = diagnose(*settled(tiny, tmp_path / "planted", CHANNELS, **changes))
    (fault,) = found.faults
    assert "layer.1/output_layer_norm" in fault.tensor.name
    cause = fault.causes[0]
    assert cause.kind == "channels"
    assert sorted(cause.channels) == [(channel,) for channel in CHANNELS]
    assert 30 < cause.factor < 200
    assert found.recovered >= 0.9
    assert fault.tensor.median_decibels == min(item.median_decibels for item in found.tensors if item.decibels)
    assert fault.tensor.median_decibels < 15 < fault.tensor.decibels, "large channels hide what the others lose"
    healthy = diagnose(*settled(tiny, tmp_path / "healthy", (), **changes))
    assert all(cause.kind != "channels" for fault in healthy.faults for cause in fault.causes)
    assert healthy.rounded.divergence < found.rounded.divergence / 5


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A folder with a finished static run, its int8 file made and scored but not timed, and one that was dynamic."""
    root = tmp_path_factory.mktemp("why")
    path = write_tiny_config(
        tiny,
        root / "tiny.yaml",
        quantization_approach=None,
        calibration={"num_calibration_samples": 10, "padding": "max_length"},
        benchmarked={"quantization_approach": ["static", "dynamic"]},
    )
    config = load_config(path)
    store = Store(root / "out")
    store.open(config)
    static, dynamic = make_plan(config).runs
    context = stages.context_at(store.cache)
    artifact, spec = stages.optimized(static, store.folder / "models", context)
    original = stages.original(static.settings, context)
    store.save(
        Result(
            run=static,
            environment=context.environment,
            sources=fingerprints(static.settings, load_model(static.settings.sources, context), context),
            artifact=artifact,
            scores={
                name: stages.scores(arm, static.settings, context)
                for name, arm in (("original", original), ("optimized", spec))
            },
        )
    )
    store.save(done(dynamic, 0))
    return store.folder


def test_the_command_prints_and_writes_the_answer(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    ran = quantbench("why", out, "-q", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("# `quantization_approach-static` loses nothing"), "a random model has nothing to lose"
    store = Store(out)
    (static,) = (result for result in store.results() if result.run.name.endswith("static"))
    scores = static.scores["optimized"]
    wrong = tuple((0, given, wanted, 0, words) for _, given, wanted, _, words in scores.outcomes)
    worse = scores.model_copy(update={"outcomes": wrong, "metrics": dict.fromkeys(scores.metrics, 0.0)})
    store.save(static.model_copy(update={"scores": {**static.scores, "optimized": worse}}))
    ran = quantbench("why", out, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    text = (out / "why.md").read_text()
    assert text in ran.stdout
    assert text.startswith("# Why `quantization_approach-static` loses what it loses")
    for words in ("## What mends it", "`calibration.padding`", "`[softmax]`", "`percentile`"):
        assert words in text


def refused(folder, only=""):
    before = sorted(folder.rglob("*")) if folder.exists() else None
    with pytest.raises(BadInput) as error:
        qb.diagnose(folder, only=only)
    assert (sorted(folder.rglob("*")) if folder.exists() else None) == before, "nothing is written"
    (mistake,) = error.value.mistakes
    return str(mistake)


def test_a_folder_without_a_benchmark(tmp_path):
    assert refused(tmp_path / "absent") == f"{tmp_path / 'absent'}: holds no benchmark (no config.yaml in it)"
    assert refused(tmp_path) == f"{tmp_path}: holds no benchmark (no config.yaml in it)"
    ran = quantbench("why", tmp_path, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.splitlines() == [f"error: {tmp_path}: holds no benchmark (no config.yaml in it)"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_results(write_config, tmp_path):
    Store(tmp_path / "out").open(load_config(write_config()))
    assert refused(tmp_path / "out") == f"{tmp_path / 'out'}: holds no finished run to explain; run it first"


def test_a_name_that_matches_nothing(finished):
    names = "quantization_approach-static, quantization_approach-dynamic"
    assert refused(finished, "nothing*") == f"RUN nothing*: matches no finished run; there is: {names}"


def test_runs_without_fixed_ranges(finished, write_config, tmp_path):
    message = refused(finished, "*dynamic")
    assert message.startswith("RUN *dynamic: there are no ranges to explain")
    assert message.endswith("there is: quantization_approach-dynamic (dynamic)")
    config = load_config(write_config(quantization_approach="dynamic"))
    store = Store(tmp_path / "out")
    store.open(config)
    store.save(done(make_plan(config).runs[0], 0))
    assert refused(tmp_path / "out").startswith(f"{tmp_path / 'out'}: there are no ranges to explain")


def test_an_int8_file_that_is_gone_or_another(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    path = out / "models" / "quantization_approach-static" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    assert refused(out).startswith(f"{path}: has changed since the run; delete results/")
    path.unlink()
    assert refused(out).startswith(f"{path}: is gone; delete results/")


def test_a_model_that_changed_since(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    store = Store(out)
    (static,) = (result for result in store.results() if result.run.name.endswith("static"))
    store.save(static.model_copy(update={"sources": {"model": "0" * 64}}))
    assert "the model files have changed since the stored results" in refused(out, "*static")

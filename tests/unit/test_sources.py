"""Models and data sets: what is located, refused, and recognized as changed."""

import json
import struct

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantbench import embedded
from quantbench.errors import BadInput
from quantbench.schema.settings import Dataset
from quantbench.sources.datasets import data_fingerprint, load_split
from quantbench.sources.models import check_model_folder, check_safetensors, locate_model, model_fingerprint

ROWS = [{"tokens": ["a", "b"], "tags": ["O", "B"]}, {"tokens": ["c"], "tags": ["O"]}]


def safetensors(values=6):
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}})
    return struct.pack("<Q", len(header)) + header.encode() + b"\0" * 4 * values


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["AForTokenClassification"]}')
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "model.safetensors"


def refusal(call, *arguments):
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    (mistake,) = caught.value.mistakes
    return mistake.where, mistake.message


def test_a_sound_model_folder_gives_its_configuration(model):
    assert check_model_folder(model, False, False) == {"architectures": ["AForTokenClassification"]}


def test_code_and_pickles_need_the_permission_of_that_name(model):
    (model / "config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    key, text = refusal(check_model_folder, model, True, False)
    assert key == "model_name_or_path"
    assert "trust_remote_code: true" in text
    assert check_model_folder(model, False, True)["auto_map"]
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "allow_pickled_weights: true" in refusal(check_model_folder, model, False, True)[1]
    assert check_model_folder(model, True, True)["auto_map"]


def test_shards_are_checked_one_by_one(model):
    (model / "model.safetensors").rename(model / "a.safetensors")
    index = model / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"v": "a.safetensors", "w": "b.safetensors"}}')
    assert f"weights file {model / 'b.safetensors'} is missing" in refusal(check_model_folder, model, False, False)[1]
    (model / "b.safetensors").write_bytes(safetensors()[:-1])
    assert "truncated" in refusal(check_model_folder, model, False, False)[1]
    (model / "b.safetensors").write_bytes(safetensors(2))
    check_model_folder(model, False, False)
    for broken in ("{}", '{"weight_map": {}}', '{"weight_map": []}', '{"weight_map": {"w": 1}}'):
        index.write_text(broken)
        assert "names no weights files" in refusal(check_model_folder, model, False, False)[1]


@given(cut=st.integers(0, len(safetensors()) - 1))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_every_truncation_is_seen(cut, file):
    file.write_bytes(safetensors()[:cut])
    key, text = refusal(check_safetensors, file)
    assert key == "model_name_or_path"
    assert "truncated" in text
    assert "fetch it again" in text


@given(
    data=st.binary(max_size=64),
    header=st.sampled_from([b"[]", b"{}", b"1", b'{"w": 1}', b'{"w": {"data_offsets": []}}']),
)
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_any_other_bytes_are_bad_input(data, header, file):
    for content in (data, struct.pack("<Q", len(header)) + header + data):
        file.write_bytes(content)
        assert "fetch it again" in refusal(check_safetensors, file)[1]


def test_fingerprints_change_with_content_and_names_alone(model, tmp_path):
    first = model_fingerprint(model)
    moved = model.rename(tmp_path / "elsewhere")
    (moved / "README.md").write_text("words")
    assert model_fingerprint(moved) == first
    (moved / "config.json").write_text("{}")
    second = model_fingerprint(moved)
    (moved / "model.safetensors").rename(moved / "other.safetensors")
    assert len({first, second, model_fingerprint(moved)}) == 3


def test_names_of_models(model):
    assert locate_model("demo") == embedded.MODEL
    assert locate_model(str(model)) == model
    for name in ("./nowhere", "/nowhere/at/all", "a/b/c", str(model / "config.json")):
        key, text = refusal(locate_model, name)
        assert key == "model_name_or_path"
        assert text.startswith(f"model folder {name!r} ")
        assert "give a folder, an ONNX file, a hub name or demo" in text


@pytest.mark.parametrize("suffix", ["parquet", "json", "jsonl"])
def test_files_of_every_format_hold_the_same_rows(suffix, tmp_path):
    path = tmp_path / f"data.{suffix}"
    rows = datasets.Dataset.from_list(ROWS)
    rows.to_parquet(path) if suffix == "parquet" else rows.to_json(path)
    loaded = load_split(Dataset(path=str(path)), "train", "dataset.eval_split")
    assert loaded.to_list() == ROWS
    assert data_fingerprint(loaded, ["tokens"]) == data_fingerprint(rows, ["tokens"])
    assert data_fingerprint(loaded, ["tags"]) != data_fingerprint(rows, ["tokens"])


def test_slices_and_folders(tmp_path):
    datasets.Dataset.from_list(ROWS).to_parquet(tmp_path / "train.parquet")
    datasets.Dataset.from_list(ROWS[1:]).to_parquet(tmp_path / "test.parquet")
    assert load_split(Dataset(path=str(tmp_path)), "train[:1]", "dataset.eval_split").to_list() == ROWS[:1]
    assert load_split(Dataset(path=str(tmp_path)), "test", "dataset.eval_split").to_list() == ROWS[1:]
    key, text = refusal(load_split, Dataset(path=str(tmp_path)), "dev", "dataset.calibration_split")
    assert key == "dataset.calibration_split"
    assert "no split 'dev'" in text
    assert sorted(text.partition("there is: ")[2].split(", ")) == ["test", "train"]


@pytest.mark.parametrize("split", ["train[", "train[a:b]", "train[:200%]", "", "train+"])
def test_split_expressions_that_are_none(split, tmp_path):
    path = tmp_path / "data.parquet"
    datasets.Dataset.from_list(ROWS).to_parquet(path)
    key, text = refusal(load_split, Dataset(path=str(path)), split, "dataset.eval_split")
    assert key == "dataset.eval_split"
    assert repr(split) in text

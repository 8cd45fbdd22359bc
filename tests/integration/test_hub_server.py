"""The libraries load models and data sets by name from the local hub server, and then offline."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.hub_server import PARQUET_REVISION, HubServer, repo_folder
from tests.support.sentence_models import write_dense, write_sentence_model
from tests.support.tiny_models import CONLL_LABELS, write_conll_parquet, write_tiny_distilbert

from quantbench import embedded

MODEL = "elastic/distilbert-base-uncased-finetuned-conll03-english"
DATASET = "eriktks/conll2003"
ROWS = 7

LOAD_MODEL = f"""
import json
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer
config = AutoConfig.from_pretrained({MODEL!r})
tokenizer = AutoTokenizer.from_pretrained({MODEL!r})
model = AutoModelForTokenClassification.from_pretrained({MODEL!r})
batch = tokenizer("Maria lives in Lisbon.", return_tensors="pt")
print(json.dumps({{
    "labels": [config.id2label[i] for i in range(config.num_labels)],
    "fast": tokenizer.is_fast,
    "unknown": tokenizer.unk_token_id in batch["input_ids"][0].tolist(),
    "shape": list(model(**batch).logits.shape[::2]),
}}))
"""
SNAPSHOT_MODEL = """
import json, os, sys
from huggingface_hub import snapshot_download
folder = snapshot_download({model!r}, {options})
print(json.dumps(sorted(os.listdir(folder))))
"""
DESCRIBE = """
import json
print(json.dumps({"rows": len(rows), "labels": rows.features["ner_tags"].feature.names,
                  "columns": rows.column_names}))
"""
LOAD_DATASET = (
    "from datasets import load_dataset\n"
    f"rows = load_dataset({DATASET!r}, revision={PARQUET_REVISION!r}, split='validation')\n"
    f"{DESCRIBE}"
)
LOAD_SNAPSHOT = (
    "from datasets import load_dataset\n"
    "from huggingface_hub import snapshot_download\n"
    "folder = snapshot_download({name!r}, repo_type='dataset', revision={revision!r}, {options})\n"
    "rows = load_dataset(folder, split='validation')\n"
)
HUB_API = f"""
import json
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub import errors
api, fs = HfApi(), HfFileSystem()
where = {{"repo_type": "dataset", "revision": {PARQUET_REVISION!r}}}
name = "conll2003/test/0000.parquet"
def refused(error, call, *args, **options):
    try:
        call(*args, **options)
    except error:
        return True
found = api.get_paths_info({DATASET!r}, ["conll2003/test", name, "absent"], **where)
info = api.dataset_info({DATASET!r}, revision={PARQUET_REVISION!r}, files_metadata=True)
with fs.open(f"datasets/{DATASET}@{PARQUET_REVISION}/{{name}}", block_size=16) as stream:
    stream.seek(4)
    middle = stream.read(8).hex()
print(json.dumps({{
    "paths": [entry.path for entry in found],
    "sizes": [found[1].size, info.siblings[0].size],
    "sha256": info.siblings[0].lfs.sha256,
    "converts": [ref.name for ref in api.list_repo_refs({DATASET!r}, repo_type="dataset").converts],
    "same": api.dataset_info({DATASET!r}, revision=info.sha).sha == info.sha,
    "middle": middle,
    "refused": [
        refused(errors.RepositoryNotFoundError, api.model_info, "elastic/absent"),
        refused(errors.RevisionNotFoundError, api.model_info, {MODEL!r}, revision="absent"),
        refused(errors.EntryNotFoundError, api.hf_hub_download, {MODEL!r}, "absent"),
    ],
}}))
"""
EXPECTED_MODEL = {
    "labels": list(CONLL_LABELS),
    "fast": True,
    "unknown": False,
    "shape": [1, len(CONLL_LABELS)],
}
EXPECTED_ROWS = {
    "rows": ROWS,
    "labels": list(CONLL_LABELS),
    "columns": ["id", "tokens", "ner_tags"],
}


def snapshot_code(name: str, options: str = "") -> str:
    """Return code that loads a data set from the folder of its downloaded snapshot."""
    head = LOAD_SNAPSHOT.format(name=name, revision=PARQUET_REVISION, options=options)
    return head + DESCRIBE


def execute(code: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter whose Hugging Face caches are below ``home``."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean | settings | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def answer(code: str, home: Path, **env: str) -> Any:
    """Run code and return the JSON value that it prints last."""
    done = execute(code, home, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Loaded:
    """What the libraries said while the server ran, and the caches that they left."""

    home: Path
    model: Any
    rows: Any
    requests: list[str]


@pytest.fixture(scope="module")
def hub_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of repositories with a tiny model and a tiny data set."""
    root = tmp_path_factory.mktemp("hub")
    write_tiny_distilbert(repo_folder(root, "models", MODEL), CONLL_LABELS)
    write_conll_parquet(repo_folder(root, "datasets", DATASET, PARQUET_REVISION), ROWS)
    return root


@pytest.fixture(scope="module")
def hub(hub_root: Path) -> Iterator[HubServer]:
    """Serve the repositories."""
    with HubServer(hub_root) as server:
        yield server


@pytest.fixture(scope="module")
def loaded(hub_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Load the model and the data set by name from a server that then stops."""
    home = tmp_path_factory.mktemp("home")
    with HubServer(hub_root) as server:
        model = answer(LOAD_MODEL, home, HF_ENDPOINT=server.endpoint)
        rows = answer(LOAD_DATASET, home, HF_ENDPOINT=server.endpoint)
    return Loaded(home, model, rows, server.requests)


def test_transformers_load_the_model_by_name(loaded: Loaded) -> None:
    assert loaded.model == EXPECTED_MODEL
    assert any("/resolve/" in line and line.endswith("model.safetensors") for line in loaded.requests)


def test_datasets_load_the_parquet_revision_by_name(loaded: Loaded) -> None:
    assert loaded.rows == EXPECTED_ROWS
    assert f"GET /api/datasets/{DATASET}/revision/refs%2Fconvert%2Fparquet" in loaded.requests


def test_snapshot_takes_the_files_that_patterns_allow(hub: HubServer, tmp_path: Path) -> None:
    partial = SNAPSHOT_MODEL.format(model=MODEL, options="allow_patterns=['*.json']")
    names = answer(partial, tmp_path, HF_ENDPOINT=hub.endpoint)
    assert names == ["config.json", "tokenizer.json", "tokenizer_config.json"]
    whole = SNAPSHOT_MODEL.format(model=MODEL, options="local_files_only=True")
    assert "IncompleteSnapshotError" in execute(whole, tmp_path, HF_HUB_OFFLINE="1").stderr
    assert answer(partial, tmp_path, HF_HUB_OFFLINE="1") == names


def test_weights_of_modules_are_fetched_and_other_files_of_folders_are_not(tmp_path: Path) -> None:
    folder = repo_folder(tmp_path / "hub", "models", "owner/sentences")
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_sentence_model(folder, modules=(("2_Dense", "Dense"),))
    write_dense(folder / "2_Dense", 32, 16)
    write_dense(folder / "3_Dense", 32, 16)
    code = """
import json
from quantbench.sources import sentence_transformers
from quantbench.sources.models import locate_model
found = locate_model("owner/sentences")
names = sorted(str(path.relative_to(found)) for path in found.glob("*/*"))
print(json.dumps([names, [step["kind"] for step in sentence_transformers.read(found).steps]]))
"""
    with HubServer(tmp_path / "hub") as server:
        names, kinds = answer(code, tmp_path / "home", HF_ENDPOINT=server.endpoint)
    assert names == ["1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "3_Dense/config.json"]
    assert kinds == ["Pooling", "Dense"]


def test_of_a_repository_of_onnx_files_the_float_one_is_fetched(tmp_path: Path) -> None:
    folder = repo_folder(tmp_path / "hub", "models", "owner/exported")
    (folder / "onnx").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(embedded.MODEL / name, folder)
    for name in ("model.onnx", "model.onnx_data", "model_quantized.onnx", "model_fp16.onnx"):
        (folder / "onnx" / name).write_bytes(name.encode())
    code = """
import json
from quantbench.sources import given_files
from quantbench.sources.models import locate_model
found = locate_model("owner/exported")
names = sorted(str(path.relative_to(found)) for path in found.glob("*/*"))
print(json.dumps([names, str(given_files.find(found).relative_to(found))]))
"""
    with HubServer(tmp_path / "hub") as server:
        names, file = answer(code, tmp_path / "home", HF_ENDPOINT=server.endpoint)
        assert answer(code, tmp_path / "home", HF_ENDPOINT=server.endpoint, HF_HUB_OFFLINE="1") == [names, file]
    assert names == ["onnx/model.onnx", "onnx/model.onnx_data"]
    assert file == "onnx/model.onnx"


def test_snapshot_follows_the_redirect_of_an_old_name(hub: HubServer, tmp_path: Path) -> None:
    code = snapshot_code("conll2003")
    assert answer(code, tmp_path, HF_ENDPOINT=hub.endpoint) == EXPECTED_ROWS
    old = "GET /api/datasets/conll2003/revision/refs%2Fconvert%2Fparquet"
    assert hub.requests[hub.requests.index(old) + 1] == old.replace("conll2003", DATASET, 1)


def test_load_dataset_rejects_a_name_without_owner(hub: HubServer, tmp_path: Path) -> None:
    code = LOAD_DATASET.replace(repr(DATASET), "'conll2003'")
    done = execute(code, tmp_path, HF_ENDPOINT=hub.endpoint)
    assert "HfUriError" in done.stderr


def test_model_loads_offline_from_the_hub_cache(loaded: Loaded) -> None:
    assert answer(LOAD_MODEL, loaded.home, HF_HUB_OFFLINE="1") == EXPECTED_MODEL
    code = SNAPSHOT_MODEL.format(model=MODEL, options="local_files_only=True")
    names = answer(code, loaded.home, HF_HUB_OFFLINE="1")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names)


def test_load_dataset_offline_needs_the_datasets_cache(loaded: Loaded, tmp_path: Path) -> None:
    shutil.copytree(loaded.home / "datasets", tmp_path / "datasets")
    assert answer(LOAD_DATASET, tmp_path, HF_HUB_OFFLINE="1") == EXPECTED_ROWS


def test_snapshot_folder_loads_offline_from_the_hub_cache(loaded: Loaded, tmp_path: Path) -> None:
    shutil.copytree(loaded.home / "hub", tmp_path / "hub", symlinks=True)
    by_name = execute(LOAD_DATASET, tmp_path, HF_HUB_OFFLINE="1")
    assert f"ConnectionError: Couldn't reach '{DATASET}' on the Hub" in by_name.stderr
    code = snapshot_code(DATASET, "local_files_only=True")
    assert answer(code, tmp_path, HF_HUB_OFFLINE="1") == EXPECTED_ROWS


def test_hub_api_describes_a_repository(hub: HubServer, hub_root: Path, tmp_path: Path) -> None:
    said = answer(HUB_API, tmp_path, HF_ENDPOINT=hub.endpoint)
    folder = repo_folder(hub_root, "datasets", DATASET, PARQUET_REVISION)
    data = (folder / "conll2003/test/0000.parquet").read_bytes()
    assert said == {
        "paths": ["conll2003/test", "conll2003/test/0000.parquet"],
        "sizes": [len(data), len(data)],
        "sha256": hashlib.sha256(data).hexdigest(),
        "converts": ["parquet"],
        "same": True,
        "middle": data[4:12].hex(),
        "refused": [True, True, True],
    }

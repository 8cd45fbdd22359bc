"""The reference card's configuration, whole, under the real names: from a hub over HTTP, and from its cache offline."""

import json
import shutil
from pathlib import Path

import pytest
from tests.support.command import quantbench
from tests.support.hub_server import PARQUET_REVISION, HubServer, repo_folder
from tests.support.tiny_models import CONLL_LABELS, write_conll_parquet, write_tiny_distilbert

CONFIG = Path(__file__).parents[2] / "examples" / "reference.yaml"
MODEL = "elastic/distilbert-base-uncased-finetuned-conll03-english"
QUICK = ("--set", "time_benchmark_args={duration: 0.3, warmup_runs: 1, precision: 0.9}")


@pytest.fixture(scope="module")
def hub_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    write_tiny_distilbert(repo_folder(root, "models", MODEL), CONLL_LABELS)
    write_conll_parquet(repo_folder(root, "datasets", "eriktks/conll2003", PARQUET_REVISION), 120)
    return root


@pytest.fixture(scope="module")
def online(hub_root, tmp_path_factory):
    """One whole run against the server; what it printed, the folder, the hub's cache and the server's log."""
    folder = tmp_path_factory.mktemp("online")
    with HubServer(hub_root) as server:
        done = quantbench("run", CONFIG, *QUICK, cwd=folder, HF_ENDPOINT=server.endpoint, HF_HOME=str(folder / "hf"))
        return done, folder, list(server.requests)


def test_the_reference_configuration_runs_whole(online):
    done, folder, requests = online
    assert done.returncode == 0, done.stderr
    card = (folder / "runs/reference/card.md").read_text()
    assert f"* **model_name_or_path**: `{MODEL}`" in card
    assert "    * **path**: `conll2003`" in card
    assert "* **node_exclusion**: `[]`,  `['layernorm', 'gelu', 'residual', 'gather', 'softmax']`" in card
    assert "Below, time metrics for batch size = 4, input length = 64." in card
    assert any("conll2003/validation" in request for request in requests)


def test_its_summary_has_both_runs(online):
    _, folder, _ = online
    runs = json.loads((folder / "runs/reference/summary.json").read_text())["runs"]
    assert [run["status"] for run in runs] == ["done", "done"]
    assert runs[0]["artifact"]["excluded"] == {}
    assert set(runs[1]["artifact"]["excluded"]) == {"layernorm", "gelu", "residual", "gather", "softmax"}
    assert runs[0]["artifact"]["operators"]["Add"] > runs[1]["artifact"]["operators"]["Add"]
    assert not any("QLinear" in name for name in runs[0]["artifact"]["executed"]), "level 1 has no int8 kernels"


def test_a_second_call_has_nothing_left_to_do(online):
    _, folder, _ = online
    card = folder / "runs/reference/card.md"
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs/reference/results").iterdir()}
    again = quantbench(
        "run", CONFIG, *QUICK, cwd=folder, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(folder / "none")
    )
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert card.exists()


@pytest.mark.slow
@pytest.mark.parametrize("keep_datasets_cache", [True, False])
def test_it_runs_offline_from_the_hubs_cache(online, tmp_path, keep_datasets_cache):
    _, folder, _ = online
    shutil.copytree(folder / "hf", tmp_path / "hf", symlinks=True)
    if not keep_datasets_cache:
        shutil.rmtree(tmp_path / "hf" / "datasets", ignore_errors=True)
    done = quantbench("run", CONFIG, *QUICK, cwd=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 0, done.stderr
    first = json.loads((folder / "runs/reference/summary.json").read_text())["runs"]
    second = json.loads((tmp_path / "runs/reference/summary.json").read_text())["runs"]
    assert [run["metrics"] for run in second] == [run["metrics"] for run in first]
    assert [run["artifact"]["sha256"] for run in second] == [run["artifact"]["sha256"] for run in first]


def test_offline_without_a_cache_is_one_clear_message(tmp_path):
    done = quantbench("run", CONFIG, cwd=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "reference.yaml:5" in done.stderr
    assert "offline" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_model_and_data_of_the_hub_are_decided_online_and_offline(hub_root, tmp_path):
    names = ("init", MODEL, "conll2003", "--force")
    with HubServer(hub_root) as server:
        done = quantbench(*names, cwd=tmp_path, HF_ENDPOINT=server.endpoint, HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.yaml")
    text = file.read_text()
    assert file.name == f"{MODEL.rpartition('/')[2]}-conll2003.yaml"
    assert "data_keys: {primary: tokens}" in text and "eval_split: validation" in text
    again = quantbench(*names, cwd=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert again.returncode == 0, again.stderr
    assert file.read_text() == text

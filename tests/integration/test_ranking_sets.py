"""Retrieval sets are read under their names on the hub: online, and offline from its cache."""

import json

import pytest
from tests.integration.test_hub_server import answer, execute
from tests.support import hub_layouts
from tests.support.hub_server import HubServer, repo_folder
from tests.support.rankings import KEYS, write_beir

from quantbench.schema.settings import Dataset
from quantbench.sources.datasets import load_split

NAMES = {"mteb/tiny": hub_layouts.as_mteb, "BeIR/tiny": hub_layouts.as_beir}
READ = """
import json
from quantbench.schema.settings import Dataset
from quantbench.sources.datasets import load_split, split_names
dataset = Dataset(path=NAME, data_keys=KEYS, ref_keys=("relevance",))
rows = load_split(dataset, "test[:50%]", "dataset.eval_split").to_list()
print(json.dumps([sorted(split_names(dataset)), rows]))
"""
FETCH = """
from huggingface_hub import snapshot_download
for name in ("mteb/tiny", "BeIR/tiny", "BeIR/tiny-qrels"):
    snapshot_download(name, repo_type="dataset")
"""


def code(name):
    return READ.replace("NAME", repr(name)).replace("KEYS", repr(KEYS))


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Where the folder lies of which the sets are made, and the caches; the endpoint while the server runs."""
    root = tmp_path_factory.mktemp("hub")
    source = write_beir(root / "source", queries=8, passages=20)
    for name, layout in NAMES.items():
        layout(source, repo_folder(root / "served", "datasets", name))
    with HubServer(root / "served") as server:
        yield root, server.endpoint


def as_folder(root):
    dataset = Dataset(path=str(root / "source"), data_keys=dict(KEYS), ref_keys=("relevance",))
    return json.loads(json.dumps(load_split(dataset, "test[:50%]", "key").to_list()))


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_read_under_its_name(hub, name):
    root, endpoint = hub
    found = answer(code(name), root / name.partition("/")[0], HF_ENDPOINT=endpoint)
    assert found == [["test", "train"], as_folder(root)]


def test_sets_are_read_offline_from_the_cache(hub):
    root, endpoint = hub
    done = execute(FETCH, root / "fetched", HF_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        found = answer(code(name), root / "fetched", HF_HUB_OFFLINE="1")
        assert found == [["test", "train"], as_folder(root)]

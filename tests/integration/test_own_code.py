"""Models with code of their own: fetched from the hub with it, and laid down as ONNX without the need for it."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.cases.exports import write_own
from tests.cases.models import TEXTS, classified
from tests.support.hub_server import HubServer, repo_folder
from tests.support.interpreter import execute

from quantbench.results.store import Store

MODEL = "acme/own"
RUN = """
import sys
from pathlib import Path
import quantbench as qb
sys.exit(3 if qb.run(qb.load_config(sys.argv[1]), out=sys.argv[2]).failed else 0)
"""
TOKENIZE = """
import json, sys
from transformers import AutoTokenizer
print(json.dumps(AutoTokenizer.from_pretrained(sys.argv[1])(sys.argv[2])["input_ids"]))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The output folder of a run of a model on the hub whose architecture lies in its repository."""
    root = tmp_path_factory.mktemp("own")
    write_own(root, "pass")
    served = repo_folder(root / "hub", "models", MODEL)
    served.parent.mkdir(parents=True)
    (root / "model").rename(served)
    settings = {
        **classified(root),
        "model_name_or_path": MODEL,
        "trust_remote_code": True,
        "quantization_approach": "dynamic",
        "batch_sizes": [],
    }
    (root / "run.yaml").write_text(yaml.safe_dump(settings))
    with HubServer(root / "hub") as server:
        done = execute(RUN, root / "run.yaml", root / "out", home=root, HF_ENDPOINT=server.endpoint)
    assert done.returncode == 0, done.stderr
    return root


def test_a_model_of_the_hub_is_fetched_with_its_code(finished):
    (result,) = Store(finished / "out").results()
    assert result.failure is None
    assert result.scores["original"].metrics == result.scores["onnx-float"].metrics


def test_the_onnx_folder_needs_none_of_the_code(finished):
    (folder,) = (finished / "out" / "models").iterdir()
    assert not list(folder.glob("*own*.py"))
    config = json.loads((folder / "config.json").read_text())
    assert "auto_map" not in config
    assert config["id2label"]
    done = execute(TOKENIZE, folder, TEXTS[0], home=finished, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) > 2

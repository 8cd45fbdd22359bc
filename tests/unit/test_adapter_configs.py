"""What the files of an adapter tell before anything is loaded: without peft, which need not be installed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from quantbench.errors import BadInput
from quantbench.sources import adapters
from quantbench.sources.adapters import CACHED

ABOUT = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "/not/here", "r": 2, "lora_alpha": 4}


@pytest.fixture
def folder(tmp_path):
    """An adapter by its files, with a setting that is off."""
    save_file({"base_model.model.query.lora_A.weight": np.zeros((2, 4), "f")}, tmp_path / "adapter_model.safetensors")
    write(tmp_path, alora_invocation_tokens=None)
    return tmp_path


def write(folder, **changes):
    (folder / "adapter_config.json").write_text(json.dumps({**ABOUT, **changes}))


def refusal(folder):
    with pytest.raises(BadInput) as error:
        adapters.find(folder, False)
    (mistake,) = error.value.mistakes
    assert mistake.where == "model_name_or_path"
    return mistake.message


def test_a_folder_without_an_adapter_is_none(tmp_path):
    assert adapters.find(tmp_path, False) is None
    assert adapters.local_base(tmp_path) == {}


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "XLORA", "NEXT_IDEA", None])
def test_kinds_that_cannot_be_merged_are_refused_by_name(folder, kind):
    write(folder, peft_type=kind)
    said = refusal(folder)
    assert f"is an adapter ({kind}) for /not/here" in said
    assert "kinds that can be merged are LORA, ADALORA, LOHA, LOKR, IA3, OFT" in said


@pytest.mark.parametrize("setting", adapters.LEFT_OUT)
def test_settings_that_are_not_followed_are_refused_by_name(folder, setting):
    write(folder, **{setting: [1]})
    assert f"it sets {setting}, which is not followed here" in refusal(folder)


@pytest.mark.parametrize("begun", ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "eva"])
def test_adapters_begun_from_the_base_are_refused(folder, begun):
    write(folder, init_lora_weights=begun)
    assert f"it was begun with init_lora_weights: {begun}; convert it" in refusal(folder)


def test_files_that_lack_something_are_refused(folder):
    write(folder, base_model_name_or_path=None)
    assert "does not name its base; write it there as base_model_name_or_path" in refusal(folder)
    write(folder)
    (folder / "adapter_model.safetensors").rename(folder / "model.safetensors")
    assert "with other weights beside it; remove adapter_config.json or these" in refusal(folder)
    (folder / "model.safetensors").rename(folder / "adapter_model.bin")
    assert "its weights, adapter_model.safetensors, are not there" in refusal(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"cut off")
    assert "is damaged or truncated" in refusal(folder)


def test_without_peft_it_is_said_what_installs_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "merging it needs peft, which cannot be imported here: pip install 'quantbench[adapters]'" in refusal(folder)


def test_a_base_by_its_path_is_one_of_this_machine(folder, tmp_path):
    assert adapters.local_base(folder) == {}
    write(folder, base_model_name_or_path=str(tmp_path))
    assert adapters.local_base(folder) == {str(tmp_path): Path(tmp_path)}


def test_paths_into_a_cache_of_the_hub_name_repository_and_commit():
    commit = "86b5e0934494bd15c9632b12f734a8a67f723594"
    found = CACHED.search(f"/home/b/.cache/huggingface/hub/models--acme--my-base/snapshots/{commit}/")
    assert found.groupdict() == {"name": "acme--my-base", "commit": commit}
    assert CACHED.search("/data/models--acme--base/snapshots/main") is None

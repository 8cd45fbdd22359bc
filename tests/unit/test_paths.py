"""Relative paths belong to the file that names them, and a configuration is the same wherever it is read."""

from pathlib import Path

import pytest
import yaml

from quantbench.config.load import dump_config, load_config
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.launchers import _archives
from quantbench.results.store import Store

BASE = {
    "task": "text-classification",
    "model_name_or_path": "model",
    "dataset": {"path": "data/texts", "data_keys": {"primary": "text"}, "ref_keys": ["label"]},
}


@pytest.fixture
def project(tmp_path):
    """A folder with a YAML file, a model and data."""
    for name in ("model", "data/texts"):
        (tmp_path / "project" / name).mkdir(parents=True)
    write(tmp_path / "project" / "mine.yaml")
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "project"


def write(path, **changes):
    path.write_text(yaml.safe_dump({**BASE, **changes}))
    return path


def test_paths_are_found_beside_their_file_from_anywhere(project, monkeypatch):
    keys = set()
    for folder in (project, project.parent / "elsewhere"):
        monkeypatch.chdir(folder)
        config = load_config(project / "mine.yaml")
        assert config.places == {"model": str(project / "model"), "data/texts": str(project / "data/texts")}
        keys.add(make_plan(config).runs[0].key)
        local = _archives.local_inputs(config.base, config.places)
        assert local == {"model": project / "model", "data/texts": project / "data/texts"}
    assert len(keys) == 1


def test_the_files_own_folder_wins_and_overrides_belong_to_the_call(project, monkeypatch):
    other = project.parent / "elsewhere"
    (other / "model").mkdir()
    monkeypatch.chdir(other)
    assert load_config(project / "mine.yaml").places["model"] == str(project / "model")
    assert "model" not in load_config(project / "mine.yaml", ["model_name_or_path=model"]).places


def test_paths_beside_the_call_still_work_and_hub_names_stay_names(project, monkeypatch):
    (project / "configs").mkdir()
    path = write(project / "configs" / "mine.yaml", model_name_or_path="someone/a-model")
    monkeypatch.chdir(project)
    config = load_config(path)
    assert config.places == {}
    assert _archives.local_inputs(config.base, config.places) == {"data/texts": Path("data/texts")}
    (project / "model" / "config.json").touch()
    assert load_config(write(path, model_name_or_path="demo")).places == {}


def test_benchmarked_paths_have_places_too(project):
    (project / "data/more").mkdir()
    base = {key: value for key, value in BASE.items() if key != "model_name_or_path"}
    del base["dataset"]
    datasets = [{**BASE["dataset"], "path": f"data/{name}"} for name in ("texts", "more")]
    path = project / "grid.yaml"
    path.write_text(yaml.safe_dump({**base, "benchmarked": {"model_name_or_path": ["model"], "dataset": datasets}}))
    assert set(load_config(path).places) == {"model", "data/texts", "data/more"}


@pytest.mark.parametrize("where", ["project", "elsewhere"])
def test_what_a_folder_holds_repeats_from_anywhere(project, monkeypatch, where):
    monkeypatch.chdir(project)
    config = load_config(project / "mine.yaml")
    store = Store(project / "runs")
    store.open(config)
    monkeypatch.chdir(project.parent / where)
    held = Store(project / "runs").config()
    assert held.model_dump() == config.model_dump()
    assert held.places == config.places
    assert dump_config(held) == dump_config(config)
    assert Store(project / "runs").stored_for(load_config(project / "mine.yaml")) == []


def test_paths_of_the_call_are_written_in_full(project, monkeypatch):
    (project / "configs").mkdir()
    path = write(project / "configs" / "mine.yaml")
    monkeypatch.chdir(project)
    text = dump_config(load_config(path))
    monkeypatch.chdir(project.parent)
    (project / "copy.yaml").write_text(text)
    assert load_config(project / "copy.yaml").places["model"] == str(project / "model")


def test_places_that_are_none_are_refused(project):
    with pytest.raises(BadInput, match="places must map relative paths to full ones"):
        load_config(write(project / "mine.yaml", places=["model"]))


@pytest.mark.parametrize("name", ["x" * 1000, "a\0b"])
def test_a_name_that_no_file_can_have_is_no_place(project, name):
    config = load_config(write(project / "mine.yaml", model_name_or_path=name))
    assert "data/texts" in config.places
    assert name not in config.places
    assert name not in dump_config(config).partition("places:")[2]

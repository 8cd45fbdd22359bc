"""Folders and keys of earlier versions, stored by one in which all settings held the options of every plug-in."""

import json
from pathlib import Path

import pytest

from quantbench.analysis.pairing import Pair
from quantbench.config.load import build_config, load_config
from quantbench.config.plan import make_plan, run_of
from quantbench.plugins import registry
from quantbench.plugins.former import FORMER, as_before, spelled_out
from quantbench.plugins.options import PLACES, completed
from quantbench.results.store import Store
from quantbench.tune.state import question

STORED = Path(__file__).parent / "stored"
KEYS = json.loads((STORED / "keys.json").read_text())
ADDED_TO = ("feature-extraction",)
"""Tasks that have got an option since: their runs have other keys, so that they are measured again."""
FOLDERS = ("frameworks", "session")


def named(case):
    given = {key: value for key, value in case["given"].items() if key not in ("model_name_or_path", "dataset")}
    return json.dumps(given)[:60]


@pytest.mark.parametrize("case", KEYS, ids=named)
def test_keys_and_reasons_are_those_of_before(case):
    config = build_config(case["given"], {}, "x.yaml")
    plan = make_plan(config)
    assert [item.model_dump(mode="json") for item in plan.skipped] == case["skipped"]
    found = {run.name: run.key for run in plan.runs}
    if case["given"].get("task") in ADDED_TO:
        assert list(found) == list(case["keys"])
        assert set(found.values()).isdisjoint(case["keys"].values())
        return
    assert found == case["keys"]
    assert run_of(config.base).key == case["single"]
    assert question(config.base, [], "*") == case["question"], "searches go on, too"


@pytest.mark.parametrize("case", KEYS, ids=named)
def test_a_configuration_written_before_is_the_same_one(case, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(case["written"])
    held = load_config(path)
    config = build_config(case["given"], {}, "x.yaml")
    assert as_before(held.base.model_dump()) == as_before(config.base.model_dump())
    assert held.dimensions == config.dimensions
    store = Store(tmp_path)
    assert store.stored_for(config) == [], "and so its folder is gone on with"
    assert [run.key for run in make_plan(held).runs] == [run.key for run in make_plan(config).runs]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("report", ["card", "summary", "table"])
def test_reports_of_a_folder_of_before_are_the_same_to_the_letter(name, report):
    store = Store(STORED / name)
    config, results = store.config(), store.results()
    plan = make_plan(config)
    order = [run.key for run in plan.runs]
    results.sort(key=lambda result: order.index(result.run.key))
    text = registry.report(report).render(config, results, plan.skipped)
    assert text == (STORED / name / registry.report(report).FILE).read_text()


@pytest.mark.parametrize("name", FOLDERS)
def test_results_of_before_are_found_again(name):
    store = Store(STORED / name)
    results = store.results()
    assert make_plan(store.config(), results).runs == ()
    for result in results:
        settings = completed(result.run.settings)
        now = result.model_copy(update={"run": result.run.model_copy(update={"settings": settings})})
        assert Pair(result, now).differing == []
        assert settings.model_dump() != result.run.settings.model_dump(), "options of others are left out"


def test_what_was_central_is_in_every_settings_record_that_is_spelled_out():
    config = build_config({**KEYS[0]["given"], "task": "image-classification"}, {}, "x.yaml")
    assert config.base.task_args.model_dump() == {}
    data = spelled_out(config.base)
    for key, options in FORMER.items():
        assert data[key].items() >= options.items()


def test_the_former_defaults_are_still_those_of_the_plugins():
    """No must, but where one is changed this says that its plug-in's keys are others now."""
    for place in PLACES:
        for name in registry.names(place.kind):
            made = place.args(name)().model_dump(mode="json")
            former = FORMER[place.key]
            assert {option: made[option] for option in made if option in former}.items() <= former.items()

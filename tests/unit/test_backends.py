"""Every run is executed where its own backend says, and never under the cap of another."""

import pytest
from tests.support.example_results import ENVIRONMENT, done, failed, reference_config

import quantbench as qb
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.pipeline import preflight
from quantbench.plugins import registry
from quantbench.results.store import Store
from quantbench.system import environment, instruction_sets

CAPS = "benchmarked.backend.args=[{supported_instructions: avx2}, {supported_instructions: avx512}]"
PLACES = "benchmarked.backend=[local, {name: ray, args: {address: 'host:1'}}]"


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine that has everything, where nothing is loaded and nothing is capped."""
    monkeypatch.setattr(environment, "detect", lambda: ENVIRONMENT)
    monkeypatch.setattr(preflight, "check", lambda *_: None)
    monkeypatch.setattr(instruction_sets, "cap", lambda level, found: found.model_copy(update={"cap": level}))


@pytest.fixture
def launched(monkeypatch):
    """Instead of running: launcher, cap and runs of every launch."""
    calls = []
    for name in ("local", "ray"):

        def launch(runs, context, name=name):
            calls.append((name, context.environment.cap, len(runs)))
            return [done(run, 0) for run in runs]

        monkeypatch.setattr(registry.launcher(name), "launch", launch)
    return calls


def test_several_caps_on_this_machine_are_refused_with_what_to_do(tmp_path):
    config = reference_config(CAPS)
    with pytest.raises(BadInput) as refused:
        qb.run(config, out=tmp_path / "out")
    assert "--only 'supported_instructions=avx2'" in str(refused.value)
    assert str(refused.value).startswith("--set benchmarked.backend.args=")
    assert not (tmp_path / "out").exists()


def test_one_cap_after_another_is_each_under_its_own(tmp_path, launched):
    config = reference_config(CAPS)
    for level in ("avx2", "avx512"):
        qb.run(config, out=tmp_path, only=f"supported_instructions={level}")
    assert launched == [("local", "avx2", 2), ("local", "avx512", 2)]
    assert len(Store(tmp_path).results()) == 4


def test_every_backend_launches_its_own_runs(tmp_path, launched):
    qb.run(reference_config(PLACES), out=tmp_path)
    assert launched == [("local", None, 2), ("ray", None, 2)]


def test_what_would_be_asked_for_is_asked_of_each_backend(tmp_path):
    asked = qb.plan(reference_config(PLACES), out=tmp_path).requests()
    assert [sorted(request) for request in asked] == [["places", "run"]] * 2 + [["job", "options"]] * 2


def test_a_failure_of_runs_that_were_not_asked_for_is_no_failure(tmp_path, launched):
    config = reference_config()
    store = Store(tmp_path)
    store.open(config)
    store.save(failed(make_plan(config).runs[1]))
    assert not qb.run(config, out=tmp_path, only="node_exclusion-none").failed
    assert not qb.run(config, out=tmp_path).failed, "the failed run was done now"

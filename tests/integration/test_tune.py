"""Whole searches: what they write, that they go on where they stopped, and what they do where nothing is good enough."""

import json
import signal
import subprocess
import sys
import time

import pytest
from tests.integration.conftest import write_tiny_config
from tests.support import stages
from tests.support.command import quantbench
from tests.support.searches import OF_ONNXRUNTIME, deployed_by

import quantbench as qb
from quantbench import embedded
from quantbench.config.load import load_config
from quantbench.quantize import tables
from quantbench.results.store import Store
from quantbench.schema.settings import Calibration
from quantbench.tune import candidates, tuner
from quantbench.tune.budget import Budget
from quantbench.tune.screening import WORTH
from quantbench.tune.search import Limit
from quantbench.tune.state import Tuned
from quantbench.tune.tuner import Tuning

F1 = Limit(metric="f1", drop=0.005)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def state(folder):
    return Tuned.model_validate_json((folder / "tuning.json").read_bytes())


ASKED = {"max_drop": {"f1": 0.5}}
ONNXRUNTIME = "onnxruntime-*"
"""Fewer candidates, where a test is about something else."""


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A finished search of the tiny model; its configuration and folder."""
    folder = tmp_path_factory.mktemp("tuned")
    config = write_tiny_config(tiny, folder / "tiny.yaml")
    done, out = deployed_by(config, folder, "--max-drop", "f1=0.5")
    assert "Deploy " in done.stdout
    seconds = out.name.rpartition("-")[2]
    config.write_text(config.read_text().replace("duration: 0.2", f"duration: {seconds}"))
    return config, out


def test_what_a_search_writes(finished):
    folder = finished[1]
    found = summary(folder)
    assert found["best"] in {run["name"] for run in found["runs"]}
    assert found["best"] in found["front"]
    assert 0 < found["evaluations"] <= 7
    assert {"screening", "probes", "sensitivity", "search", "pruning", "validation and timing"} == set(found["seconds"])
    report = (folder / "tune.md").read_text()
    assert f"**Deploy {found['best']}**" in report
    assert "whose scores took no part in the search" in report
    assert (folder / "front.svg").read_text().startswith("<?xml")
    screened = state(folder).screening
    assert "## Which candidates are in question" in report
    assert all(f"`{family.candidate}`" in report for family in screened.families)
    assert found["screening"]["against"] == screened.against
    assert not {tried.candidate for tried in state(folder).tried} & set(screened.named("out"))


@pytest.fixture(scope="module")
def screened(tiny, tmp_path_factory):
    """A search of the tiny model that ended with its screening, its folder, and what was told meanwhile."""
    folder = tmp_path_factory.mktemp("screened")
    config, told = load_config(write_tiny_config(tiny, folder / "tiny.yaml")), []
    found = qb.tune(config, out=folder / "out", only=ONNXRUNTIME, screen_only=True, screened=told.append, **ASKED)
    return config, found, told


def test_a_screening_tells_of_every_candidate_and_deploys_nothing(screened):
    _, found, told = screened
    families = {family.candidate: family for family in found.screening.families}
    assert list(families) == OF_ONNXRUNTIME
    assert found.screening.against == "onnxruntime-float32"
    assert families["onnxruntime-float32"].standing == "without int8"
    for family in families.values():
        assert family.standing != "not looked at", "a minute is enough for a tiny model"
        assert bool(family.why) == (family.standing == "out")
        low, high = family.speed[1:] if family.speed else (0, 1)
        assert low <= high
        assert (family.standing == "out") == (high < WORTH) or family.candidate == "onnxruntime-float32"
    assert len(told) == 1
    assert told[0].replace("**", "") in found.answer
    assert found.best is None
    assert not found.results
    assert not (found.folder / "models" / "best").exists()
    assert summary(found.folder)["screening"] == found.screening.model_dump(mode="json")
    assert list(found.to_dataframe("screening")["candidate"]) == OF_ONNXRUNTIME


def test_a_screening_is_not_repeated(screened):
    config, found, _ = screened
    told = []
    again = qb.tune(config, out=found.folder, only=ONNXRUNTIME, screen_only=True, screened=told.append, **ASKED)
    assert again.state.model_copy(update={"seconds": found.state.seconds}) == found.state
    assert len(told) == 1


@pytest.mark.slow
def test_what_is_out_is_searched_by_a_thorough_search_alone(screened, tmp_path):
    """Probes are changed so that what is out would be tried first; the thorough search goes on in the same folder."""
    config, found, _ = screened
    probes = {**found.state.probes, "onnxruntime-static": min(found.state.probes.values()) / 2}
    families = tuple(
        family.model_copy(update={"standing": "out", "why": "by this test"})
        if family.candidate == "onnxruntime-static"
        else family.model_copy(update={"standing": "in question", "why": ""})
        for family in found.screening.families
    )
    screening = found.screening.model_copy(update={"families": families})
    changed = found.state.model_copy(update={"probes": probes, "screening": screening})
    store = Store(tmp_path / "out")
    with store.claimed(config.model_copy(update={"dimensions": ()})):
        changed.write(store.folder)
    usual = qb.tune(config, out=store.folder, only=ONNXRUNTIME, **ASKED).state
    assert usual.finalists
    assert usual.probes == probes
    assert "onnxruntime-static" not in {tried.candidate for tried in usual.tried}
    thorough = qb.tune(config, out=store.folder, only=ONNXRUNTIME, thorough=True, **ASKED)
    assert thorough.state.tried[: len(usual.tried)] == usual.tried
    assert "onnxruntime-static" in {tried.candidate for tried in thorough.state.tried}
    assert thorough.state.finalists
    assert "All were searched." in thorough.report


def test_every_group_of_the_model_has_its_sensitivity(finished):
    """Four groups per layer and the classifier; the export's weights were all found in the PyTorch model."""
    found = state(finished[1])
    assert len(found.groups) == 2 * 4 + 1
    assert len({tuple(group.sensitivity.values()) for group in found.groups}) == len(found.groups)
    assert all(sensitivity > 0 for group in found.groups for sensitivity in group.sensitivity.values())


def test_the_deployed_model_runs(finished, tmp_path):
    script = finished[1] / "models" / "best" / "infer.py"
    done = subprocess.run(
        [sys.executable, script, "Maria Lopez lives in Lisbon."],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_the_recipe_makes_the_same_model(finished, tmp_path):
    folder = finished[1]
    done = quantbench("run", folder / "models" / "best" / "recipe.yaml", "--out", tmp_path / "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = summary(tmp_path / "again")["runs"][0]["artifact"]["sha256"]
    best = summary(folder)["best"]
    assert again == next(run for run in summary(folder)["runs"] if run["name"] == best)["artifact"]["sha256"]


def test_a_second_call_repeats_nothing(finished, tmp_path):
    config, folder = finished
    before = state(folder)
    done = quantbench("tune", config, "--out", folder, "--max-drop", "f1=0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = state(folder)
    assert after.model_copy(update={"seconds": before.seconds}) == before
    assert "Timing" not in done.stderr
    assert "Probing" not in done.stderr


def test_a_search_is_no_benchmark_to_render_again(finished, tmp_path):
    before = summary(finished[1])
    done = quantbench("card", finished[1], cwd=tmp_path)
    assert done.returncode == 2
    assert "holds a search" in done.stderr
    assert summary(finished[1]) == before


def test_another_question_is_refused(finished, tmp_path):
    config, folder = finished
    done = quantbench("tune", config, "--out", folder, "--max-drop", "f1=0.4", cwd=tmp_path)
    assert done.returncode == 2
    assert "another configuration or other limits" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-drop", "f1"], "must be METRIC=NUMBER"),
        (["--max-drop", "f1=-1"], "must be METRIC=NUMBER"),
        (["--only", "tensorrt-*"], "matches no candidate; there is: onnxruntime-dynamic"),
        (["--max-time", "5"], "the least that makes sense is 30"),
        (["--max-evaluations", "0"], "--max-evaluations 0: must be more than 0"),
        (["--max-drop", "f2=0.1"], "unknown metric 'f2'"),
        (["--max-size", "tiny"], "--max-size tiny: must be a number of bytes, such as 24MB"),
        (
            ["--set", "dataset.calibration_split=null", "--set", "quantization_approach=dynamic"],
            "tune needs dataset.calibration_split",
        ),
    ],
)
def test_bad_input_writes_nothing(finished, tmp_path, arguments, words):
    done = quantbench("tune", finished[0], "--out", tmp_path / "out", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_is_too_large_is_left_out_and_tables_shrink(finished, tiny, tmp_path, monkeypatch):
    """Much of the tiny model's int8 version is its table."""
    monkeypatch.setattr(tables, "LEAST_BYTES", 1000)
    monkeypatch.setattr(candidates, "OVERHEAD", 100)  # of a model this small
    whole = next(item for item in state(finished[1]).tried if not item.pruned)
    config, largest = qb.load_config(finished[0]), whole.bytes - 1
    found = qb.tune(config, out=tmp_path / "out", max_size=largest, only=whole.candidate, **ASKED)
    tried = found.state.tried[0]
    assert (tried.candidate, tried.settings.embedding_tables) == (whole.candidate, "int8")
    assert 0 < tried.bytes <= largest
    assert found.state.fastest is not None
    assert all(run["artifact"]["bytes"] <= largest for run in summary(tmp_path / "out")["runs"])


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(tiny, tmp_path):
    config = write_tiny_config(tiny, tmp_path / "tiny.yaml")
    arguments = ["tune", config, "--out", tmp_path / "out", "--max-drop", "f1=0.5", "--only", ONNXRUNTIME]
    process = subprocess.Popen(
        [sys.executable, "-m", "quantbench", *arguments], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    path = tmp_path / "out" / "tuning.json"
    while not (path.exists() and state(tmp_path / "out").probes):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    probes = state(tmp_path / "out").probes
    done = quantbench(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Probing" not in done.stderr
    assert state(tmp_path / "out").probes == probes
    assert state(tmp_path / "out").fastest


@pytest.mark.slow
def test_without_a_version_within_the_limit_the_original_stands(tiny, tmp_path, monkeypatch):
    config = load_config(write_tiny_config(tiny, tmp_path / "tiny.yaml"))
    monkeypatch.setattr(tuner, "keeps_within", lambda result, limits, most: False)
    found = qb.tune(config, out=tmp_path / "out", max_drop={"f1": 0.005}, only=ONNXRUNTIME)
    assert found.best is None
    report = (tmp_path / "out" / "tune.md").read_text()
    assert "deploy the original" in report
    assert "The nearest was" in report
    assert summary(tmp_path / "out")["best"] is None
    assert not (tmp_path / "out" / "models" / "best").exists()


@pytest.mark.slow
def test_a_spent_budget_ends_the_search_with_an_answer(tiny, tmp_path):
    config = load_config(write_tiny_config(tiny, tmp_path / "tiny.yaml"))
    asked = {"max_drop": {"f1": 0.005}, "max_evaluations": 0.1, "only": ONNXRUNTIME}
    found = qb.tune(config, out=tmp_path / "out", **asked).state
    assert found.stopped
    assert [found.tried[0].step, len(found.tried)] == [0, 1], "one version in int8 is tried all the same"
    assert "the budget was spent" in (tmp_path / "out" / "tune.md").read_text()


def test_tuning_examples_are_neither_calibration_nor_evaluation_examples(tiny, tmp_path):
    config = load_config(write_tiny_config(tiny, tmp_path / "tiny.yaml"))
    bench = stages.context_at(tmp_path / "cache")
    search = Tuning.prepare(config.base, [F1], Budget(), Store(tmp_path / "out"), bench)
    assert config.base.dataset.calibration_split != config.base.dataset.eval_split
    assert len(search.tuning_set.sample(10_000)) > 0


@pytest.mark.slow
def test_the_demo_finds_its_way_out_of_padded_calibration(tmp_path):
    """The demo's configuration asks for what destroys the model: static int8 calibrated on padded sentences."""
    overrides = ["time_benchmark_args={duration: 0.2, warmup_runs: 1, precision: 0.9}", "max_eval_samples=400"]
    config = load_config(embedded.CONFIG, overrides)
    assert config.base.calibration.padding == "max_length" != Calibration().padding
    found = qb.tune(config, out=tmp_path / "out", max_drop={"f1": 0.02}, only=ONNXRUNTIME)
    best = next(run for run in summary(tmp_path / "out")["runs"] if run["name"] == found.state.fastest)
    assert best["metrics"]["f1"]["original"] - best["metrics"]["f1"]["optimized"] <= 0.02
    assert best["parameters"]["calibration"]["padding"] == "none"
    assert summary(tmp_path / "out")["evaluations"] <= 7

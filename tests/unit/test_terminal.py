"""What is shown on a terminal fits it, names what it shows and says what is missing once."""

import json

import pytest
from tests.support.example_results import failed, reference_config, reference_results

import quantbench as qb
from quantbench.config.plan import make_plan
from quantbench.plugins import registry
from quantbench.results.store import Store
from quantbench.system import terminal

GRID = ("benchmarked.per_channel=[true, false]", "framework_args.opset=13")
LONG = "RuntimeError: " + "the quantizer gave up on a node with a long name; " * 20


def words(text):
    return " ".join(text.split())


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def shown(config, results):
    return registry.report("table").render(config, results, ())


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("overrides", [(), GRID])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(overrides):
    config = reference_config(*overrides)
    text = shown(config, reference_results(config))
    assert max(map(len, text.splitlines())) <= 80
    assert "(" not in text or "0.103" in text
    for run in make_plan(config).runs:
        for value in run.benchmarked.values():
            for name in value if isinstance(value, list) else ():
                assert name in words(text).replace(",", " ").replace("[", " ").replace("]", " ").split()


@pytest.mark.usefixtures("narrow")
def test_runs_have_the_numbers_that_the_plan_gives_them():
    config = reference_config(*GRID)
    text = shown(config, reference_results(config)[::-1])
    assert words(text).index("4: node_exclusion=[layernorm, gelu, residual, gather, softmax], per_channel=false")
    assert "\n4 " in text


def test_names_stand_in_the_table_where_they_fit():
    config = reference_config("benchmarked.node_exclusion=[[], [gelu]]")
    assert "│ node_exclusion-gelu " in shown(config, reference_results(config))


def test_a_reason_of_several_runs_is_told_once_and_short():
    config = reference_config()
    runs = make_plan(config).runs
    text = shown(config, [failed(run, LONG) for run in runs])
    assert text.count("the quantizer gave up") < 12
    assert "failed in preparation" in text
    assert "and 1 more" in words(text)
    assert "original" not in text, "no table without a row"


def without_timing(result):
    return result.model_copy(update={"latency": ()})


def without_scores(result):
    return result.model_copy(update={"scores": {}})


def test_what_was_not_measured_has_no_columns():
    config = reference_config()
    results = reference_results(config)
    assert "speedup" not in shown(config, list(map(without_timing, results)))
    assert "f1" not in shown(config, list(map(without_scores, results)))
    assert "not timed" in shown(config, [results[0], without_timing(results[1])])


@pytest.fixture
def folder(tmp_path):
    config = reference_config()
    store = Store(tmp_path)
    store.open(config)
    for result in reference_results(config):
        store.save(result)
    return config, store


def run(config, store, only="*"):
    return qb.run(config, out=store.folder, only=only)


def test_a_call_with_nothing_to_do_computes_nothing_again(folder, monkeypatch):
    first = run(*folder)
    monkeypatch.setattr(registry.report("card"), "render", None)
    assert str(run(*folder)) == str(first)
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "80")
    assert str(run(*folder)) != str(first)


@pytest.mark.parametrize("name", ["card.md", "summary.json"])
def test_reports_that_were_changed_or_deleted_are_written_again(folder, name):
    config, store = folder
    run(config, store)
    path = store.folder / name
    text = path.read_text()
    path.write_text("other")
    run(config, store)
    assert path.read_text() == text
    path.unlink()
    run(config, store)
    assert path.read_text() == text


def test_a_changed_result_is_seen(folder):
    config, store = folder
    run(config, store)
    store.save(without_timing(reference_results(config)[0]))
    runs = {run["key"]: run for run in json.loads((store.folder / "summary.json").read_text())["runs"]}
    assert all(row["latency"] for row in runs.values())
    assert "not timed" in str(run(config, store))


def test_the_exit_code_is_that_of_the_runs_that_were_asked_for(tmp_path):
    config = reference_config()
    one, other = reference_results(config)
    store = Store(tmp_path)
    store.open(config)
    store.save(one)
    store.save(failed(other.run))
    assert not run(config, store, only="node_exclusion-none").failed


def test_the_width_is_told_or_usual(monkeypatch):
    monkeypatch.setenv("COLUMNS", "91")
    assert terminal.width() == 91
    monkeypatch.delenv("COLUMNS")
    assert terminal.width() == terminal.WIDTH

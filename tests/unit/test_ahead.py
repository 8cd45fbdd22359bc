"""Figures that are computed by all cores before a report are those that the report would compute by itself."""

from pathlib import Path

import pytest

from quantbench.analysis import ahead, losses, speedups
from quantbench.api.benchmark import load_results
from quantbench.config.plan import make_plan
from quantbench.plugins import registry
from quantbench.results.store import Store

STORED = Path(__file__).parent / "stored"


@pytest.fixture
def store():
    return Store(STORED / "frameworks")


def in_order(store):
    plan = make_plan(store.config())
    order = [run.key for run in plan.runs]
    return sorted(store.results(), key=lambda result: order.index(result.run.key)), plan.skipped


def test_a_report_is_the_same_and_finds_everything(monkeypatch, store):
    monkeypatch.setattr(ahead, "FEWEST", 1)
    results, skipped = in_order(store)
    ahead.compute(results)
    for module, name in ((losses, "drawn_metrics"), (speedups, "session"), (speedups, "log_ratios")):
        monkeypatch.setattr(module, name, None)
    for report in ("card", "summary"):
        found = registry.report(report).render(store.config(), results, skipped)
        assert found == (store.folder / registry.report(report).FILE).read_text()


@pytest.mark.parametrize(("fewest", "methods"), [(100, ["fork"]), (1, ["spawn"])])
def test_nothing_is_done_for_few_results_or_where_processes_cannot_be_copied(monkeypatch, store, fewest, methods):
    monkeypatch.setattr(ahead, "FEWEST", fewest)
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: methods)
    monkeypatch.setattr(ahead, "answers", lambda _: pytest.fail("computed"))
    ahead.compute(store.results())


def test_a_failure_is_passed_over_and_a_run_that_was_neither_timed_nor_scored_has_nothing_to_ask(monkeypatch, store):
    monkeypatch.setattr(ahead, "FEWEST", 1)
    results = store.results()
    bare = [result.model_copy(update={"scores": {}, "latency": ()}) for result in results]
    assert [list(ahead.questions(result)) for result in bare] == [[]] * len(bare)
    ahead.compute(bare)
    ahead.compute([])


@pytest.mark.parametrize("together", [1, 2])
def test_what_was_computed_while_results_were_read_is_not_computed_again(monkeypatch, together):
    monkeypatch.setattr(ahead, "FEWEST", 1)
    monkeypatch.setattr(ahead, "TOGETHER", together)
    bench = load_results(STORED / "frameworks", figures=True)
    monkeypatch.setattr(ahead, "answers", lambda _: pytest.fail("computed again"))
    ahead.compute(bench)
    assert all(ahead._kept(result) for result in bench)

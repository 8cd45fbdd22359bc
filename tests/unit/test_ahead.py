"""Figures that are computed by all cores before a report are those that the report would compute by itself."""

from pathlib import Path

from quantbench.analysis import ahead, losses, speedups
from quantbench.config.plan import make_plan
from quantbench.plugins import registry
from quantbench.results.store import Store

STORED = Path(__file__).parent / "stored"


def test_a_report_is_the_same_and_finds_everything(monkeypatch):
    monkeypatch.setattr(ahead, "FEWEST", 1)
    store = Store(STORED / "frameworks")
    config, results = store.config(), store.results()
    plan = make_plan(config)
    order = [run.key for run in plan.runs]
    results.sort(key=lambda result: order.index(result.run.key))
    ahead.compute(results)
    monkeypatch.setattr(losses, "drawn_metrics", None)
    monkeypatch.setattr(speedups, "session", None)
    for report in ("card", "summary"):
        found = registry.report(report).render(config, results, plan.skipped)
        assert found == (store.folder / registry.report(report).FILE).read_text()


def test_a_failure_is_passed_over(monkeypatch):
    monkeypatch.setattr(ahead, "FEWEST", 1)
    results = Store(STORED / "frameworks").results()
    ahead.compute([result.model_copy(update={"failure": None, "scores": {}, "latency": ()}) for result in results])
    ahead.compute([])

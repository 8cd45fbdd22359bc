"""Progress on a terminal: one display at a time, whatever is within what."""

import io

import rich.live
from rich.console import Console

from quantbench.system.progress import Bars


def test_work_within_work_shares_one_display(monkeypatch):
    shown = []
    start = rich.live.Live.start

    def counted(self, *args, **options):
        shown.append(self)
        return start(self, *args, **options)

    monkeypatch.setattr(rich.live.Live, "start", counted)
    out = io.StringIO()
    bars = Bars(Console(file=out, force_terminal=True, width=100))
    with bars.stage("Quantizing", 1) as outer:
        with bars.stage("Collecting ranges", 3) as inner:
            inner(3)
        outer(1)
    assert len(shown) == 1
    with bars.stage("Evaluating", 2) as advance:
        advance(2)
    assert len(shown) == 2
    assert "Quantizing" in out.getvalue() and "Collecting ranges" in out.getvalue() and "Evaluating" in out.getvalue()


def test_a_display_ends_with_the_work_that_failed():
    bars = Bars(Console(file=io.StringIO(), force_terminal=True, width=100))
    for _ in range(2):
        try:
            with bars.stage("Quantizing", 1), bars.stage("Collecting", 1):
                raise ValueError
        except ValueError:
            pass
    with bars.stage("Evaluating", 1) as advance:
        advance(1)


def test_what_is_left_stands_on_a_narrow_terminal_however_long_the_name():
    out = io.StringIO()
    bars = Bars(Console(file=out, force_terminal=True, width=80))
    with bars.stage(
        "Evaluating per_channel-true__percentile-99.9__node_exclusion-residual on 2077 examples", 2077
    ) as done:
        done(2077)
    assert "2077/2077" in out.getvalue() and " left " in out.getvalue()

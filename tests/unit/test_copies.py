"""Work by copies of a process: its results, in order, of what was in memory."""

import os
import signal
from functools import partial

import pytest

from quantbench.analysis import ahead
from quantbench.api.benchmark import load_results, write_reports
from quantbench.system import copies

NUMBERS = list(range(10))


def square(place):
    return NUMBERS[place] ** 2, os.getpid()


def test_results_come_in_order_from_other_processes():
    found = list(copies.results_of([partial(square, place) for place in range(10)]))
    assert [value for value, _ in found] == [number**2 for number in NUMBERS]
    assert os.getpid() not in {pid for _, pid in found} or not copies.possible()


def test_one_piece_of_work_is_done_here():
    assert list(copies.results_of([partial(square, 3)])) == [(9, os.getpid())]
    assert not list(copies.results_of([]))


def test_without_copies_it_is_done_here(monkeypatch):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    assert list(copies.results_of([partial(square, 1), partial(square, 2)])) == [(1, os.getpid()), (4, os.getpid())]


def test_an_error_is_raised_here():
    with pytest.raises(IndexError):
        list(copies.results_of([partial(square, 1), partial(square, 99)]))


@pytest.mark.skipif(not copies.possible(), reason="no processes are copied here")
def test_what_a_killed_copy_was_to_find_is_found_here():
    def work():
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return 3

    here = os.getpid()
    assert copies.Copy(work).result() == 3


def test_reports_that_are_rendered_side_by_side_are_the_same(monkeypatch, request, tmp_path):
    stored = request.path.parent / "stored" / "frameworks"
    bench = load_results(stored)
    bench.folder = tmp_path
    monkeypatch.setattr(ahead, "FEWEST", 1)
    write_reports(bench)
    for name in ("card.md", "summary.json"):
        assert (tmp_path / name).read_text() == (stored / name).read_text()

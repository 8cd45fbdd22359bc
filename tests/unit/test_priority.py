"""The priority of timed processes: asked of the system, forbidden by the user, left alone for everybody else."""

import os

import pytest

from quantbench.errors import BadInput
from quantbench.system import priority


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


def test_asking_changes_nothing_for_this_process(monkeypatch):
    monkeypatch.delenv(priority.VARIABLE, raising=False)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert priority.of_timed() in (priority.HIGH, priority.NORMAL)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_it_is_normal_where_the_system_refuses(monkeypatch):
    monkeypatch.delenv(priority.VARIABLE, raising=False)
    monkeypatch.setattr(os, "setpriority", refuse)
    priority.take()
    assert priority.of_timed() == priority.NORMAL


def test_it_is_normal_where_the_user_says_so(monkeypatch):
    monkeypatch.setenv(priority.VARIABLE, "normal")
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("asked the system"))
    priority.take()
    assert priority.of_timed() == priority.NORMAL


def test_another_word_is_refused(monkeypatch):
    monkeypatch.setenv(priority.VARIABLE, "highest")
    with pytest.raises(BadInput, match=r"\$QUANTBENCH_PRIORITY: 'highest' is no priority; set it to high or normal"):
        priority.of_timed()

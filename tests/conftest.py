"""Workers and files of tests stay out of each other's way.

Each worker has a core of its own, so that the threads of one never wait for a core that another keeps busy. Each file
has a cache and a lock of the machine of its own, so that none finds what another made, or waits for it. Property tests
have no deadline, since no test asserts a time.
"""

import os

import hypothesis
import pytest

from quantbench.system import cache
from quantbench.timing import forks

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure():
    """Pin a worker of several, and with it every process that it starts; lines are as wide as without a terminal."""
    os.environ.pop("COLUMNS", None)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.fixture(scope="module", autouse=True)
def _machine_of_the_file(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, folder)
        patch.setenv(cache.LOCK_VARIABLE, folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_imported_once():
    """Arms are forked of the same processes whatever the name of the test, which pytest keeps in a variable."""
    given = forks._given
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forks, "_given", lambda: tuple(item for item in given() if item[0] != "PYTEST_CURRENT_TEST"))
        yield


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own, where it asks what is made and what is found."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"

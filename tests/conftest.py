"""Workers and files of tests stay out of each other's way.

Each worker has a core of its own, so that the threads of one never wait for a core that another keeps busy. Each file
has a cache of the machine of its own, so that none finds what another made, or waits for it. Property tests have no
deadline, since no test asserts a time.
"""

import os

import hypothesis
import pytest

from quantbench import cache

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure():
    """Pin a worker of several, and with it every process that it starts."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.fixture(scope="module", autouse=True)
def _cache_of_the_file(tmp_path_factory):
    before = os.environ.get(cache.VARIABLE)
    os.environ[cache.VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[cache.VARIABLE]
    else:
        os.environ[cache.VARIABLE] = before


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own, where it asks what is made and what is found."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"

"""Every test has a cache of the machine of its own, so that none finds what another made, or waits for its lock."""

import os

import pytest

from quantbench import cache


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory):
    os.environ[cache.VARIABLE] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))

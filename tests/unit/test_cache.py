"""The folder that benchmarks share, and its lock."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantbench import cache
from quantbench.errors import BadInput
from quantbench.progress import Silent

HOLD = """
import sys, pathlib
from quantbench import cache
from quantbench.progress import Silent
with cache.alone(pathlib.Path(sys.argv[1]), Silent()):
    print("held", flush=True)
    sys.stdin.read()
"""


class Told:
    """Remembers what it is told."""

    def __init__(self):
        self.stages = []

    @contextmanager
    def stage(self, description, total):
        self.stages.append(description)
        yield lambda steps: None


@contextmanager
def another_process(folder):
    """A process that holds the lock until it is told to end, or killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_folder_is_the_users_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "named"))
    assert cache.folder() == tmp_path / "named"
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "quantbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "quantbench"


def test_a_second_benchmark_waits_and_says_so(tmp_path):
    told = Told()
    with another_process(tmp_path) as process:
        threading.Timer(1, process.stdin.close).start()  # which ends it, while this one waits
        with cache.alone(tmp_path, told):
            assert process.wait(10) == 0
    assert told.stages == ["Waiting for another benchmark on this machine to end"]


def test_a_killed_process_leaves_no_lock(tmp_path):
    told = Told()
    with another_process(tmp_path) as process:
        process.kill()
        process.wait()
        with cache.alone(tmp_path, told):
            pass
    assert told.stages == []


def test_the_lock_may_be_nested_in_a_process(tmp_path):
    with cache.alone(tmp_path, Silent()), cache.alone(tmp_path, Silent()):
        pass
    with another_process(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=cache.VARIABLE), cache.alone(tmp_path / "file" / "cache", Silent()):
        pass


def test_clearing_leaves_the_lock(tmp_path):
    (tmp_path / "float" / "x").mkdir(parents=True)
    (tmp_path / "float" / "x" / "model.onnx").write_bytes(b"1234")
    with cache.alone(tmp_path, Silent()):
        assert cache.size(tmp_path) == 4
        cache.clear(tmp_path)
    assert cache.size(tmp_path) == 0
    assert not (tmp_path / "float").exists()

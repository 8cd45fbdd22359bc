"""The folder that benchmarks share, and its lock."""

import os
import pwd
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantbench.errors import BadInput
from quantbench.system import cache
from quantbench.system.progress import Silent

HOLD = """
import sys, pathlib
from quantbench.system import cache
from quantbench.system.progress import Silent
with cache.alone(pathlib.Path(sys.argv[1]), Silent()):
    print("held", flush=True)
    sys.stdin.read()
"""
BECOME_ANOTHER = "import os; os.setgid(65534); os.setuid(12345)"


class Told:
    """Remembers what it is told."""

    def __init__(self):
        self.stages = []

    @contextmanager
    def stage(self, description, total):
        self.stages.append(description)
        yield lambda steps: None


@contextmanager
def another_process(folder, code=HOLD):
    """A process that holds the lock until it is told to end, or killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
    (stage,) = told.stages
    user = pwd.getpwuid(os.getuid()).pw_name
    assert stage.startswith(
        f"Waiting for another benchmark on this machine to end (process {process.pid} of user {user}); "
    )


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


def test_two_folders_on_a_machine_share_its_lock(tmp_path):
    told = Told()
    with another_process(tmp_path / "theirs") as process:
        threading.Timer(0.2, process.stdin.close).start()
        with cache.alone(tmp_path / "mine", told):
            pass
    assert len(told.stages) == 1


def test_machines_that_share_a_folder_do_not_wait_for_each_other(tmp_path, monkeypatch):
    """Another machine has other names in its abstract namespace; here another name stands for it."""
    told = Told()
    with another_process(tmp_path) as process:
        ending = threading.Timer(5, process.stdin.close)
        ending.start()
        monkeypatch.setenv(cache.LOCK_VARIABLE, "another machine")
        with cache.alone(tmp_path, told):
            ending.cancel()
    assert told.stages == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_two_users_share_the_lock_and_see_whose_it_is(tmp_path):
    told = Told()
    with tempfile.TemporaryDirectory() as theirs:
        os.chown(theirs, 12345, 65534)
        with another_process(theirs, HOLD.replace("with cache", f"{BECOME_ANOTHER}\nwith cache")) as process:
            threading.Timer(0.2, process.stdin.close).start()
            with cache.alone(tmp_path, told):
                pass
    (stage,) = told.stages
    assert f"(process {process.pid} of user 12345); " in stage


def test_clearing_leaves_the_folder_and_its_tag(tmp_path):
    at = tmp_path / "cache"
    with cache.alone(at, Silent()):
        (at / "float" / "x").mkdir(parents=True)
        (at / "float" / "x" / "model.onnx").write_bytes(b"1234")
    assert cache.size(at) == 4
    cache.clear(at, Silent())
    assert cache.size(at) == 0
    assert not (at / "float").exists()
    assert (at / cache.TAG).read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")


def test_a_folder_that_preflight_filled_first_is_tagged_and_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    cache.check()
    (tmp_path / "cache" / "checkpoints").mkdir()
    with cache.alone(tmp_path / "cache", Silent()):
        assert (tmp_path / "cache" / cache.TAG).exists()
    untagged = tmp_path / "earlier"
    (untagged / "float" / "x").mkdir(parents=True)
    (untagged / cache.IN_USE).touch()
    cache.clear(untagged, Silent())
    assert not (untagged / "float").exists()


def test_clearing_waits_for_those_who_use_the_folder_on_any_machine(tmp_path, monkeypatch):
    told, at = Told(), tmp_path / "cache"
    with another_process(at) as process:
        monkeypatch.setenv(cache.LOCK_VARIABLE, "another machine")
        threading.Timer(0.2, process.stdin.close).start()
        cache.clear(at, told)
    assert told.stages == [f"Waiting for those who use {at} to end"]


def test_a_folder_of_somebody_else_is_not_cleared(tmp_path):
    (tmp_path / "thesis").mkdir()
    with cache.alone(tmp_path, Silent()), pytest.raises(BadInput, match=f"no {cache.TAG} in it"):
        cache.clear(tmp_path, Silent())
    assert (tmp_path / "thesis").exists()
    cache.clear(tmp_path / "nowhere", Silent())


# Folders that cannot be had


def test_without_a_home_folder_one_message_names_what_to_set(monkeypatch):
    for name in (cache.VARIABLE, "XDG_CACHE_HOME", "HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(BadInput, match="has no home folder") as caught:
        cache.folder()
    assert "set QUANTBENCH_CACHE and HF_HOME to folders" in str(caught.value)


def no_home(path):
    """What Path.expanduser does for a number that is no user."""
    if str(path).startswith("~"):
        raise RuntimeError("Could not determine home directory.")
    return path


def test_a_cache_of_data_sets_that_cannot_be_written_to_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file" / "huggingface"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    with pytest.raises(BadInput) as caught:
        cache.check()
    assert f"{tmp_path}/file/huggingface/datasets (Not a directory) cannot be written to" in str(caught.value)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    cache.check()


def test_no_place_for_temporary_files_is_one_message(monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(BadInput, match="TMPDIR: No usable temporary directory"):
        cache.check()

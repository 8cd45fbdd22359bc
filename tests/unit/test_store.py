"""The output folder: whole files or none, results that come back equal, and folders that must not be used."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.support.example_results import reference_config, reference_results

from quantbench.config.load import build_config
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput, Mistake
from quantbench.results.store import CONFIG_FILE, Store
from quantbench.schema.results import SCHEMA_VERSION, Failure, Result
from quantbench.system.writing import write_atomically


@pytest.fixture
def config():
    return reference_config()


@pytest.fixture
def results(config):
    return reference_results(config)


@pytest.fixture
def store(tmp_path, config):
    made = Store(tmp_path / "out")
    made.open(config)
    return made


@contextlib.contextmanager
def mounted(folder, size):
    """A small file system of its own, where root may mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting a file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def message(call, *arguments):
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    (mistake,) = caught.value.mistakes
    return str(mistake)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_results_come_back_equal_and_by_name(store, results):
    failed = results[0].model_copy(update={"failure": Failure(stage="timing", reason="ü\n'\"\u2028")})
    for result in (results[1], failed):
        store.save(result)
    assert store.results() == sorted([failed, results[1]], key=lambda result: result.run.name)
    assert [result.done for result in store.results()].count(True) == 1


def test_a_result_replaces_the_earlier_one_of_its_run(store, results):
    failed = results[0].model_copy(update={"failure": Failure(stage="timing", reason="it died")})
    store.save(failed)
    store.save(results[0])
    assert store.results() == [results[0]]


def test_the_folder_remembers_its_configuration(store, config):
    assert store.config().model_dump() == config.model_dump()
    assert [run.key for run in make_plan(store.config()).runs] == [run.key for run in make_plan(config).runs]
    assert store.stored_for(config) == []


def test_files_of_a_writer_that_was_killed_are_ignored(store, config, results, tmp_path):
    store.save(results[0])
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from quantbench.system import writing\n"
        "def stop(handle):\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
        "os.fsync = stop\n"
        "writing.write_atomically(Path(sys.argv[1]), b'half of a')\n"
    )
    for target in (store.folder / "results" / f"{results[0].run.key}.json", tmp_path / "fresh" / CONFIG_FILE):
        writer = subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"written\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        writer.stdout.close()
        leftovers = [path.name for path in target.parent.iterdir() if path.name.startswith(f".{target.name}.")]
        assert len(leftovers) == 1, "the writer died in the middle"
    assert store.results() == [results[0]], "the whole file from before is untouched"
    fresh = Store(tmp_path / "fresh")
    assert fresh.stored_for(config) == []
    fresh.open(config)
    assert fresh.config().model_dump() == config.model_dump()


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "file"
    contents = {b"a" * 100_000, b"b" * 100_000}
    program = (
        "import sys\nfrom pathlib import Path\nfrom quantbench.system.writing import write_atomically\n"
        "for number in range(200):\n    write_atomically(Path(sys.argv[1]), (b'a', b'b')[number % 2] * 100_000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)]) as writer:
        reads = 0
        deadline = time.monotonic() + 30
        while writer.poll() is None and time.monotonic() < deadline:
            if path.exists():
                assert path.read_bytes() in contents
                reads += 1
    assert writer.returncode == 0
    assert reads > 10
    assert files(tmp_path) == ["file"]


def test_a_damaged_result_is_named(store, results):
    store.save(results[0])
    path = store.folder / "results" / f"{results[0].run.key}.json"
    for data in (path.read_bytes()[:100], b"", b"[]", b'{"schema_version": 1}', b"\xff", b"[" * 100_000):
        path.write_bytes(data)
        assert message(store.results) == f"{path}: is damaged; delete it and run again, only this run is repeated"


def test_a_result_of_another_schema_version_is_named(store, results):
    document = json.loads(results[0].model_dump_json())
    path = store.folder / "results" / f"{results[0].run.key}.json"
    for extra in ({}, {"unknown": 1}):
        write_atomically(path, json.dumps({**document, **extra, "schema_version": 99}).encode())
        text = message(store.results)
        assert text.startswith(f"{path}: has schema version 99, this quantbench reads {SCHEMA_VERSION}")
        assert "use the version that wrote it" in text


def test_the_folder_of_another_configuration_is_refused(store, config, results):
    store.save(results[0])
    other = reference_config("per_channel=true", "framework_args.opset=17", "benchmarked.node_exclusion=[[gelu]]")
    text = message(store.stored_for, other)
    assert text.startswith(f"{store.folder}: holds the results of another configuration")
    assert "(they differ in: node_exclusion, per_channel, framework_args, benchmarked)" in text
    assert "choose another --out" in text


def test_what_is_no_output_folder_is_refused(tmp_path, config):
    file = tmp_path / "file"
    file.write_text("mine")
    assert message(Store(file).stored_for, config) == f"{file}: is a file; choose another --out"
    below = file / "out"
    assert (
        message(Store(below).stored_for, config) == f"{below}: cannot be made: {file} is a file; choose another --out"
    )
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    text = message(Store(other).stored_for, config)
    assert text == f"{other}: is not empty and holds no benchmark; choose another --out"
    assert message(Store(tmp_path / "none").config) == f"{tmp_path / 'none'}: holds no benchmark (no config.yaml in it)"
    assert files(tmp_path) == ["file", "other/thesis.tex"]


def test_a_damaged_configuration_in_the_folder_is_named_with_its_line(store, config):
    (store.folder / CONFIG_FILE).write_text("task: token-classification\nmodel_name_or_path: [\n")
    assert f"{store.folder / CONFIG_FILE}:3: not valid YAML" in message(store.stored_for, config)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_place_where_nobody_can_write(config):
    text = message(Store(Path("/proc/quantbench-out")).stored_for, config)
    assert text.startswith("/proc/quantbench-out: cannot be written")
    assert text.endswith("choose another --out")


def test_a_name_that_is_too_long(tmp_path, config):
    assert "cannot be written: File name too long" in message(Store(tmp_path / ("x" * 300)).stored_for, config)


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits mean nothing to root")
def test_a_folder_without_permission(tmp_path, config):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for folder in (closed, closed / "out"):
        assert "cannot be written: Permission denied; choose another --out" in message(Store(folder).stored_for, config)


def test_a_read_only_file_system(tmp_path, config, store):
    with mounted(tmp_path / "disk", "64k") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        text = message(Store(disk / "out").stored_for, config)
    assert "cannot be written: Read-only file system; choose another --out" in text


def test_a_full_disk_leaves_no_part_and_keeps_what_was_finished(tmp_path, config, results):
    with mounted(tmp_path / "disk", "256k") as disk:
        store = Store(disk / "out")
        store.open(config)
        store.save(results[0])
        before = files(disk)
        big = results[1].model_copy(update={"notes": ("x" * 300_000,)})
        text = message(store.save, big)
        assert "no space to write it (No space left on device)" in text
        assert "what was finished is kept" in text
        assert files(disk) == before
        assert store.stored_for(config) == [results[0]]
        store.save(results[1])
        assert len(store.results()) == 2, "it goes on once there is space"


def test_a_limit_of_file_size_is_no_space(tmp_path):
    program = (
        "import resource, sys\nfrom pathlib import Path\nfrom quantbench.system.writing import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_atomically(Path(sys.argv[1]), b'x' * 900)\n"
        "write_atomically(Path(sys.argv[2]), b'x' * 9000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "small"), str(tmp_path / "large")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "BadInput" in done.stderr
    assert "no space to write it (File too large)" in done.stderr
    assert files(tmp_path) == ["small"]


def full(_handle):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_place_that_is_full_is_named_by_what_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os, "fsync", full)
    for place, remedy in (
        ("cache/ranges/x.json", "name another folder in QUANTBENCH_CACHE"),
        ("tmp/quantbench-abc/models/run/model.onnx", "name another folder in TMPDIR"),
        ("out/results/x.json", "choose another --out"),
    ):
        with pytest.raises(BadInput) as caught:
            write_atomically(tmp_path / place, b"x")
        assert f"free some or {remedy}; what was finished is kept" in str(caught.value)


CONFIG = {"task": "token-classification", "model_name_or_path": "m", "dataset": {"path": "d"}}


@pytest.mark.parametrize("there", [False, True])
def test_bad_input_before_anything_is_finished_leaves_nothing(tmp_path, there):
    config, store = build_config(CONFIG, {}, "somewhere"), Store(tmp_path / "runs" / "mine")
    if there:
        store.folder.mkdir(parents=True)
    with pytest.raises(BadInput), store.claimed(config):
        write_atomically(store.folder / "models" / "a" / "model.onnx", b"1")
        (store.folder / "results").mkdir()
        raise BadInput([Mistake("a cache", "is full")])
    assert [path.name for path in tmp_path.rglob("*")] == (["runs", "mine"] if there else [])


@pytest.mark.parametrize("kept", ["results/x.json", "jobs/x.json", "tuning.json"])
def test_what_is_worth_to_go_on_from_stays(tmp_path, kept):
    config, store = build_config(CONFIG, {}, "somewhere"), Store(tmp_path / "out")
    with pytest.raises(BadInput), store.claimed(config):
        write_atomically(store.folder / kept, b"{}")
        raise BadInput([Mistake("a cache", "is full")])
    assert (store.folder / kept).exists()
    assert (store.folder / "config.yaml").exists()


def test_a_folder_of_an_earlier_call_stays_as_it_is(tmp_path):
    config, store = build_config(CONFIG, {}, "somewhere"), Store(tmp_path / "out")
    store.open(config)
    with pytest.raises(BadInput), store.claimed(config):
        raise BadInput([Mistake("a cache", "is full")])
    assert [path.name for path in store.folder.iterdir()] == ["config.yaml"]


def test_an_interruption_keeps_what_there_is(tmp_path):
    store = Store(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), store.claimed(build_config(CONFIG, {}, "somewhere")):
        raise KeyboardInterrupt
    assert store.folder.exists()


def test_written_files_can_be_read_by_others(tmp_path):
    path = tmp_path / "a" / "b"
    write_atomically(path, b"x")
    assert path.stat().st_mode & 0o777 == 0o644


def test_results_of_a_plain_configuration(tmp_path):
    data = {"task": "token-classification", "model_name_or_path": "m", "dataset": {"path": "d"}}
    config = build_config(data, {}, "somewhere")
    folder = Store(tmp_path / "out")
    assert folder.stored_for(config) == []
    assert not folder.folder.exists(), "looking makes nothing"


def test_outcomes_that_many_results_share_are_read_once_and_are_right(tmp_path):
    stored = Path(__file__).parent / "stored" / "frameworks"
    one_by_one = [Result.model_validate_json(path.read_bytes()) for path in (stored / "results").glob("*.json")]
    found = Store(stored).results()
    assert sorted(one_by_one, key=lambda result: result.run.name) == found
    originals = [result.scores["original"].outcomes for result in found]
    assert len(set(map(id, originals))) < len(originals)


def test_a_document_that_is_written_otherwise_is_read_all_the_same(tmp_path):
    stored = Path(__file__).parent / "stored" / "frameworks"
    shutil.copytree(stored, tmp_path / "out")
    for path in (tmp_path / "out" / "results").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_bytes()), indent=1))
    assert Store(tmp_path / "out").results() == Store(stored).results()


def test_results_without_examples_are_read_as_they_are(tmp_path):
    stored = Path(__file__).parent / "stored" / "frameworks"
    shutil.copytree(stored, tmp_path / "out")
    for path in (tmp_path / "out" / "results").glob("*.json"):
        document = json.loads(path.read_bytes())
        for scores in document["scores"].values():
            scores["outcomes"] = []
        path.write_text(json.dumps(document, separators=(",", ":")))
    one_by_one = [
        Result.model_validate_json(path.read_bytes()) for path in (tmp_path / "out" / "results").glob("*.json")
    ]
    assert Store(tmp_path / "out").results() == sorted(one_by_one, key=lambda result: result.run.name)

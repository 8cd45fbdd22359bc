"""Bad input through the command: one clear message each, exit code 2, no traceback, nothing written."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys

import datasets
import pytest
from safetensors.torch import load_file
from tests.support import stages
from tests.support.command import quantbench
from tests.support.example_results import done
from tests.support.tiny_models import CONLL_LABELS, write_tiny_distilbert

from quantbench.cli import main
from quantbench.config.load import dump_config, load_config
from quantbench.config.plan import make_plan
from quantbench.pipeline import preflight
from quantbench.pipeline.load import load_model, load_split
from quantbench.results.store import Store
from quantbench.system import environment

ROWS = [
    {"tokens": ["Anna", "met", "Acme"], "ner_tags": ["B-PER", "O", "B-ORG"]},
    {"tokens": ["Rome", "."], "ner_tags": ["B-LOC", "O"]},
]


@pytest.fixture
def outcome(tmp_path, monkeypatch, capsys):
    """Run the command in this process; gives exit code, lines of standard error and standard output."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["quantbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        logging.getLogger("quantbench").handlers = []
        out, err = capsys.readouterr()
        return stopped.value.code, err.splitlines(), out

    return call


@pytest.fixture
def refused(outcome, write_config, tmp_path):
    """Run a configuration that must be refused; gives its messages without the mark ``error: path:``."""

    def call(*arguments, **changes):
        path = write_config(**changes)
        code, lines, _ = outcome("run", path, "--out", tmp_path / "out", "--quiet", *arguments)
        assert code == 2, lines
        assert not (tmp_path / "out").exists(), "nothing is written"
        assert "Traceback" not in "\n".join(lines)
        assert all(line.startswith("error: ") for line in lines), lines
        return [line.removeprefix("error: ") for line in lines]

    return call


@pytest.fixture
def model(tiny, tmp_path):
    """A copy of the tiny model to damage."""
    return shutil.copytree(tiny / "model", tmp_path / "model")


@pytest.fixture
def checked(write_config, tmp_path):
    """Settings and context of a configuration that passes all checks."""

    def call(**changes):
        config = load_config(write_config(**changes))
        context = stages.context_at(tmp_path / "cache")
        preflight.check(config, context, ())
        return config.base, context

    return call


def assert_message(messages, path, key, *words):
    """One message, at the line of ``key`` in the file ``path``, with all words."""
    (message,) = messages
    lines = path.read_text().splitlines()
    number = next(index for index, line in enumerate(lines, start=1) if line.strip().startswith(f"{key}:"))
    assert message.startswith(f"{path}:{number}: "), message
    for word in words:
        assert word in message, message


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def dataset(path, **changes):
    base = {
        "path": str(path),
        "eval_split": "train",
        "calibration_split": "train",
        "data_keys": {"primary": "tokens"},
        "ref_keys": ["ner_tags"],
    }
    return {**base, **changes}


def write_rows(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# The model


def test_a_folder_without_weights(refused, model, tmp_path):
    (model / "model.safetensors").unlink()
    found = refused(model_name_or_path=str(model))
    assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", "holds no weights", "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-100], "truncated; fetch it again"),
        (lambda data: data[:200], "damaged or truncated; fetch it again"),
        (lambda data: data[:4], "damaged or truncated; fetch it again"),
        (lambda data: b"<!DOCTYPE html><html></html>", "damaged or truncated; fetch it again"),
        (lambda data: b"\xff" * 100, "damaged or truncated; fetch it again"),
        (lambda data: b"", "damaged or truncated; fetch it again"),
    ],
)
def test_damaged_weights(damage, words, refused, model, tmp_path):
    weights = model / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    found = refused(model_name_or_path=str(model))
    assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", str(weights), words)


def test_a_model_of_another_task(refused, model, tmp_path):
    edit_json(model / "config.json", architectures=["DistilBertForSequenceClassification"], id2label={"0": "NEG"})
    found = refused(model_name_or_path=str(model))
    words = ("is no model for token-classification", "DistilBertForSequenceClassification", "ForTokenClassification")
    assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", *words)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.json", "{", "config.json is not readable JSON"),
        ("config.json", "[]", "config.json is not a JSON object"),
        (
            "config.json",
            '{"model_type": "nobody-knows", "architectures": ["XForTokenClassification"]}',
            "cannot be loaded: The checkpoint you are trying to load",
        ),
        ("tokenizer.json", "{}", "cannot be loaded: "),
    ],
)
def test_other_broken_files_of_a_model(file, text, words, refused, model, tmp_path):
    (model / file).write_text(text)
    found = refused(model_name_or_path=str(model))
    assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", words)


def test_a_folder_without_a_configuration(refused, model, tmp_path):
    (model / "config.json").unlink()
    found = refused(model_name_or_path=str(model))
    assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", f"model folder {model} has no config.json")


def test_a_path_without_a_model(refused, tmp_path):
    (tmp_path / "file").write_text("")
    for name, words in (
        ("./nowhere", "does not exist"),
        (str(tmp_path / "file"), "is neither a folder nor an ONNX file"),
        ("x" * 300, ""),
    ):
        found = refused(model_name_or_path=name)
        assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", words)


def test_inputs_longer_than_the_model_takes(refused, tmp_path):
    found = refused(input_lengths=[16, 129])
    assert_message(found, tmp_path / "tiny.yaml", "input_lengths", "input length 129", "maximum of 128 tokens")
    found = refused(input_lengths=None, benchmarked={"input_lengths": [[16], [64, 200]]})
    lines = [line.strip() for line in (tmp_path / "tiny.yaml").read_text().splitlines()]
    line = next(number for number, text in enumerate(lines, start=1) if text.startswith("- - 64"))
    (message,) = found
    assert message.startswith(f"{tmp_path / 'tiny.yaml'}:{line}: input length 200"), message


def test_more_threads_than_cpus(refused, tmp_path):
    found = refused(time_benchmark_args={"duration": 1, "num_threads": 64})
    words = ("num_threads is 64", f"no more than {environment.usable_cores()} can run here")
    assert_message(found, tmp_path / "tiny.yaml", "num_threads", *words)


def test_code_of_its_own_is_not_run_unless_asked_for(refused, model, tmp_path):
    edit_json(model / "config.json", auto_map={"AutoConfig": "custom.Custom"})
    marker = tmp_path / "marker"
    (model / "custom.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    found = refused(model_name_or_path=str(model))
    assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", "code of its own", "trust_remote_code: true")
    assert not marker.exists()


def test_pickled_weights_are_not_loaded_unless_asked_for(refused, checked, model, tmp_path):
    import torch

    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    found = refused(model_name_or_path=str(model))
    words = ("pickled weights only (pytorch_model.bin)", "safetensors", "allow_pickled_weights: true")
    assert_message(found, tmp_path / "tiny.yaml", "model_name_or_path", *words)
    settings, context = checked(model_name_or_path=str(model), allow_pickled_weights=True)
    assert load_model(settings.sources, context).folder == model


# The data


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.parquet", b"", "is empty"),
        ("empty.json", b"", "is empty"),
        ("empty.csv", b"", "is empty"),
        ("broken.parquet", b"PAR1 and then nothing", "is broken or not in a known format: "),
        ("broken.json", b'{"tokens": ["a", ', "is broken or not in a known format: "),
        ("broken.jsonl", b"<html></html>", "is broken or not in a known format: "),
        ("broken.csv", b'tokens,ner_tags\n"a\n\xff\xfe,b,c\n', "is not UTF-8 (byte 0xff in line 3)"),
        ("notes.doc", b"words", "is none of .parquet, .json, .jsonl, "),
    ],
)
def test_files_without_data(name, content, words, refused, tmp_path):
    (tmp_path / name).write_bytes(content)
    found = refused(dataset=dataset(tmp_path / name))
    assert_message(found, tmp_path / "tiny.yaml", "path", str(tmp_path / name), words)
    assert "DatasetGenerationError" not in found[0]


def test_folders_without_data(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    found = refused(dataset=dataset(tmp_path / "empty"))
    assert_message(found, tmp_path / "tiny.yaml", "path", "is broken or not in a known format")
    found = refused(dataset=dataset("./nowhere.parquet"))
    assert_message(found, tmp_path / "tiny.yaml", "path", "'./nowhere.parquet' does not exist")


def test_unknown_splits(refused, tiny, tmp_path):
    data = dataset(tiny / "data" / "conll2003")
    found = refused(dataset={**data, "eval_split": "validaton"})
    assert_message(found, tmp_path / "tiny.yaml", "eval_split", "no split 'validaton'", "train", "validation", "test")
    found = refused(dataset={**data, "calibration_split": "calib"})
    assert_message(found, tmp_path / "tiny.yaml", "calibration_split", "no split 'calib'")
    found = refused(dataset={**data, "eval_split": "train[90:20]"})
    assert_message(found, tmp_path / "tiny.yaml", "eval_split", "'train[90:20]'", "is empty")


def test_unknown_columns(refused, tiny, tmp_path):
    data = dataset(tiny / "data" / "conll2003")
    found = refused(dataset={**data, "data_keys": {"primary": "words"}})
    assert_message(found, tmp_path / "tiny.yaml", "data_keys", "no column 'words'", "id, tokens, ner_tags")
    found = refused(dataset={**data, "ref_keys": ["tags"]})
    assert_message(found, tmp_path / "tiny.yaml", "ref_keys", "no column 'tags'", "id, tokens, ner_tags")


def test_examples_that_do_not_fit_together(refused, tmp_path):
    path = write_rows(tmp_path / "data.jsonl", [*ROWS, {"tokens": ["a", "b"], "ner_tags": ["O"]}])
    found = refused(dataset=dataset(path))
    assert_message(found, tmp_path / "tiny.yaml", "ref_keys", "row 3 has 2 words and 1 labels")


def test_too_few_examples_for_the_stride(refused, tmp_path):
    path = write_rows(tmp_path / "data.jsonl")
    calibration = {"sampling": "strided", "stride": 4, "num_calibration_samples": 2}
    found = refused(dataset=dataset(path), calibration=calibration)
    assert_message(found, tmp_path / "tiny.yaml", "stride", "need 8 examples, the split has 2", "lower it")


# Labels


def test_labels_that_the_model_does_not_have(refused, checked, tmp_path):
    rows = [{"tokens": ["Anna", "met", "Acme"], "ner_tags": ["B-HUMAN", "O", "B-ORG"]}]
    path = write_rows(tmp_path / "data.jsonl", rows)
    found = refused(dataset=dataset(path))
    assert_message(found, tmp_path / "tiny.yaml", "dataset", "B-HUMAN", "B-PER", "dataset.label_map: {B-HUMAN: O}")
    settings, context = checked(dataset=dataset(path, label_map={"B-HUMAN": "B-PER"}))
    assert stages.examples(settings, context).references == [["B-PER", "O", "B-ORG"]]


def test_declared_labels_that_the_model_does_not_have(refused, tiny, model, tmp_path):
    write_tiny_distilbert(model, CONLL_LABELS[:5])
    found = refused(model_name_or_path=str(model))
    words = ("labels B-LOC, I-LOC, B-MISC, I-MISC are not among the model's", "dataset.label_map")
    assert_message(found, tmp_path / "tiny.yaml", "dataset", *words)


def test_labels_as_numbers_without_names(refused, checked, tmp_path):
    rows = [{"tokens": ["Anna", "met", "Acme"], "ner_tags": [1, 0, 2]}]
    path = write_rows(tmp_path / "data.jsonl", rows)
    found = refused(dataset=dataset(path))
    assert_message(found, tmp_path / "tiny.yaml", "ref_keys", "numbers without names", "dataset.label_names: [")
    found = refused(dataset=dataset(path, label_names=["O", "B-PER"]))
    assert_message(found, tmp_path / "tiny.yaml", "label_names", "a label number without a name", "gives 2 names")
    settings, context = checked(dataset=dataset(path, label_names=["O", "B-PER", "B-ORG"]))
    assert stages.examples(settings, context).references == [["B-PER", "O", "B-ORG"]]


def test_labels_in_another_order_are_matched_by_name(checked, tiny, tmp_path):
    model = write_tiny_distilbert(tmp_path / "reversed", CONLL_LABELS[::-1])
    settings, context = checked(model_name_or_path=str(model))
    straight, same_data = checked()
    examples = stages.examples(settings, context)
    assert examples.references == stages.examples(straight, same_data).references
    assert tuple(examples.labels) == CONLL_LABELS[::-1]
    feature = datasets.ClassLabel(names=list(CONLL_LABELS))
    first = load_split(settings.dataset, "eval", context).data[0]["ner_tags"]
    assert examples.references[0] == feature.int2str(first)


# Several at once, the hub, the command line


def test_mistakes_in_model_and_data_are_reported_together(refused, model, tmp_path):
    (model / "model.safetensors").unlink()
    (tmp_path / "empty.csv").write_text("")
    found = refused(model_name_or_path=str(model), dataset=dataset(tmp_path / "empty.csv"))
    assert len(found) == 2
    assert "holds no weights" in found[0]
    assert "empty.csv is empty" in found[1]


def test_names_on_the_hub_while_offline(write_config, tmp_path):
    path = write_config(model_name_or_path="some/model", dataset=dataset("some/data"))
    finished = quantbench(
        "run", path, "--out", tmp_path / "out", cwd=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "home")
    )
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    lines = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2, finished.stderr
    for line, what in zip(lines, ("model 'some/model'", "data set 'some/data'"), strict=True):
        assert f"{what} is neither a local path nor in the hub's cache" in line
        assert "(offline)" in line
        assert "fetch it once while online" in line
    assert not (tmp_path / "out").exists()


def test_mistakes_of_a_file_reach_the_user_in_a_process_of_its_own(write_config, tmp_path):
    path = write_config(per_chanel=True, batch_sizes=[0])
    finished = quantbench("run", path, "--set", "nonsense", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    lines = finished.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["error"] * 3
    line = path.read_text().splitlines().index("batch_sizes:") + 2
    assert f"{path}:{line}: batch_sizes.0 is 0" in lines[0]
    assert "did you mean 'per_channel'?" in lines[1]
    assert lines[2] == "error: --set nonsense: must be KEY=VALUE, such as per_channel=true"
    assert sorted(item.name for item in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_file_that_is_not_there(command, outcome, tmp_path):
    code, lines, out = outcome(command, tmp_path / "absent.yaml")
    assert (code, out) == (2, "")
    assert lines == [f"error: {tmp_path / 'absent.yaml'}: does not exist; give the path of a YAML file"]
    assert list(tmp_path.iterdir()) == []


def test_only_that_matches_nothing(refused):
    assert refused("--only", "nothing*") == ["--only nothing*: matches no run; there is: static"]


def test_a_place_that_cannot_be_written_to(outcome, write_config, tmp_path):
    path = write_config()
    for folder, words in ((path / "out", f"{path} is a file"), ("/proc/quantbench-out", "cannot be written")):
        code, lines, _ = outcome("run", path, "--out", folder, "--quiet")
        assert code == 2
        (line,) = lines
        assert line.startswith(f"error: {folder}: ")
        assert words in line
        assert line.endswith("choose another --out")


def test_the_folder_of_another_configuration(outcome, write_config, tmp_path):
    path = write_config()
    Store(tmp_path / "out").open(load_config(path))
    before = (tmp_path / "out" / "config.yaml").read_bytes()
    code, lines, _ = outcome(
        "run", path, "--out", tmp_path / "out", "--set", "per_channel=false", "--quiet", "--set", "batch_sizes=[3]"
    )
    assert code == 2
    assert lines == [
        f"error: {tmp_path / 'out'}: holds the results of another configuration (they differ in: batch_sizes); "
        "choose another --out"
    ]
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["config.yaml"]
    assert (tmp_path / "out" / "config.yaml").read_bytes() == before


# A full disk


def without_home(*arguments, cwd, **variables):
    """Run the command as a number that is no user, without a home folder."""
    become = ["unshare", "--map-user=12345"]
    if subprocess.run([*become, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("another user needs user namespaces")
    hidden = ("HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_DATASETS_CACHE", "QUANTBENCH_CACHE")
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [*become, sys.executable, "-m", "quantbench", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env={**clean, **variables}, capture_output=True, text=True, check=False, timeout=300
    )


def test_no_home_folder_is_one_message_that_names_what_to_set(write_config, tmp_path):
    done = without_home("run", write_config(), "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "user 12345 has no home folder" in line
    assert "set QUANTBENCH_CACHE and HF_HOME" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_no_home_folder_is_needed_where_both_are_set(write_config, tmp_path):
    named = {"QUANTBENCH_CACHE": str(tmp_path / "ours"), "HF_HOME": str(tmp_path / "theirs")}
    done = without_home("run", write_config(), "--out", tmp_path / "out", "-q", cwd=tmp_path, **named)
    assert done.returncode == 0, done.stderr
    assert sorted(item.name for item in tmp_path.iterdir()) == ["ours", "out", "theirs", "tiny.yaml"]


@contextlib.contextmanager
def small_disk(folder, size):
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


def test_a_full_cache_names_the_cache_and_leaves_no_folder(outcome, write_config, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", "64k") as disk:
        monkeypatch.setenv("QUANTBENCH_CACHE", str(disk / "cache"))
        code, lines, _ = outcome("run", write_config(), "--out", tmp_path / "runs" / "out", "--quiet")
    assert code == 2, lines
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert "its export needs at least" in error and f"on the disk of {disk}" in error
    assert "free some, or name another folder in QUANTBENCH_CACHE" in error
    assert "--out" not in error
    assert not (tmp_path / "runs").exists(), "nothing is left of what could not be used"


def test_a_disk_that_gets_full_keeps_what_was_finished(outcome, write_config, tmp_path):
    path = write_config(benchmarked={"node_exclusion": [[], ["gelu"]]})
    config = load_config(path)
    finished = done(make_plan(config).runs[0], 0).model_copy(update={"sources": {}})
    pages = sum(-(-len(text) // 4096) for text in (dump_config(config), finished.model_dump_json()))
    with small_disk(tmp_path / "disk", f"{4 * pages}k") as disk:
        store = Store(disk / "out")
        store.open(config)
        store.save(finished)
        code, lines, _ = outcome("run", path, "--out", disk / "out", "--quiet")
        assert code == 2, lines
        errors = [line for line in lines if line.startswith("error: ")]
        assert errors
        assert all("no space to write it" in line and "what was finished is kept" in line for line in errors), lines
        assert "Traceback" not in "\n".join(lines)
        assert store.results() == [finished]
        left = [item.relative_to(disk) for item in disk.rglob("*") if item.is_file() and item.name.startswith(".")]
        assert left == [], "no part of a file stays"

"""SageMaker training jobs against moto's server over HTTP, each executed from S3 as its container would be."""

import json
import os
import signal
import subprocess
import sys
import time

import onnxruntime
import pytest
from tests.integration.conftest import write_tiny_config
from tests.support.command import quantbench
from tests.support.training_jobs import ARGS, FAIL, INTERRUPT, SECRET, STOP, WAIT, Platform

pytestmark = pytest.mark.slow
BACKEND = {"name": "sagemaker-training", "args": ARGS}


def rows(folder):
    return {row["name"]: row for row in json.loads((folder / "summary.json").read_text())["runs"]}


@pytest.fixture(scope="module")
def story(tiny, tmp_path_factory):
    """A call for three runs, of which one is interrupted, one fails and one is stopped; then another, which is let alone."""
    root = tmp_path_factory.mktemp("sagemaker")
    grid = {"node_exclusion": [[], ["gelu"], ["layernorm"]]}
    config = write_tiny_config(tiny, root / "tiny.yaml", backend=BACKEND, benchmarked=grid)
    behaviours = {"none": [INTERRUPT], "gelu": [FAIL], "layernorm": [STOP, STOP]}
    with Platform(root / "platform", behaviours) as platform:
        platform.throttle(6)
        said = quantbench("run", config, "--out", root / "out", "-v", cwd=root, **platform.environment)
        again = quantbench("run", config, "--out", root / "out", cwd=root, **platform.environment)
    local = write_tiny_config(tiny, root / "local.yaml", benchmarked=grid)
    done = quantbench("run", local, "--only", "*none*", "--out", root / "local", cwd=root)
    assert done.returncode == 0, done.stderr
    return root, platform, said, again


def test_a_row_says_how_each_job_ended(story):
    _, _, said, _ = story
    assert said.returncode == 3, said.stderr
    text = " ".join(said.stdout.split())
    assert "failed in training job: ClientError: the image could not be pulled node_exclusion=[gelu]" in text
    assert "failed in training job: it was stopped by somebody node_exclusion=[layernorm]" in text


def test_an_interrupted_job_is_tried_again(story):
    root, platform, _, _ = story
    row = rows(root / "out")["node_exclusion-none"]
    assert row["status"] == "done"
    assert row["job"]["attempts"] == 2
    assert sum("none" in job.hyper_parameters["run"] for job in platform.created) == 2


def test_the_next_call_runs_what_failed_and_nothing_else(story):
    root, platform, _, again = story
    assert again.returncode == 3, again.stderr
    assert [row["status"] for row in rows(root / "out").values()] == ["done", "done", "failed"]
    created = [job.hyper_parameters["run"] for job in platform.created]
    assert {name: created.count(name) for name in created} == {
        "node_exclusion-none": 2,
        "node_exclusion-gelu": 2,
        "node_exclusion-layernorm": 2,
    }


def test_metrics_are_those_of_this_machine_to_the_last_digit(story):
    root, _, _, _ = story
    name = "node_exclusion-none"
    here, there = rows(root / "local")[name], rows(root / "out")[name]
    assert there["metrics"] == here["metrics"]
    assert there["difference"] == here["difference"]
    assert there["artifact"]["sha256"] == here["artifact"]["sha256"]


def test_models_come_back_and_load(story):
    root, _, _, _ = story
    for row in (row for row in rows(root / "out").values() if row["status"] == "done"):
        onnxruntime.InferenceSession(str(root / "out" / row["artifact"]["path"]))
        assert (root / "out" / row["artifact"]["path"]).with_name("tokenizer.json").exists()


def test_the_card_says_where_each_row_ran(story):
    root, platform, _, _ = story
    card = (root / "out" / "card.md").read_text()
    assert "**Backend:** `sagemaker-training`" in card
    assert "billable_seconds" in card
    row = rows(root / "out")["node_exclusion-none"]
    assert row["job"]["instance_type"] == ARGS["instance_type"]
    assert row["job"]["billable_seconds"] > 0
    assert row["job"]["job"] in card
    assert row["job"]["job"] in {job.training_job_name for job in platform.created}


def test_no_credentials_are_written_or_said(story):
    root, _, said, again = story
    everything = [said.stdout, said.stderr, again.stdout, again.stderr]
    everything += [path.read_bytes().decode(errors="replace") for path in (root / "out").rglob("*") if path.is_file()]
    everything += [path.read_bytes().decode(errors="replace") for path in (root / "platform").rglob("*.json")]
    assert not any(SECRET in text for text in everything)


def test_inputs_are_uploaded_once(story):
    _, platform, _, _ = story
    uris = {
        channel["DataSource"]["S3DataSource"]["S3Uri"]
        for request in platform.requests
        for channel in request["input_data_config"]
        if channel["ChannelName"] != "config"
    }
    assert len(uris) == 2, "the model and the data"


def test_a_killed_call_finds_its_jobs_again(tiny, tmp_path):
    config = write_tiny_config(tiny, tmp_path / "tiny.yaml", backend=BACKEND)
    command = [sys.executable, "-m", "quantbench", "run", str(config), "--out", str(tmp_path / "out")]
    with Platform(tmp_path / "platform", {"": [WAIT]}) as platform:
        with subprocess.Popen(command, env={**os.environ, **platform.environment}, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            while not platform.created and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(1)
            process.send_signal(signal.SIGKILL)
        platform.go_on.set()
        done = quantbench("run", config, "--out", tmp_path / "out", cwd=tmp_path, **platform.environment)
        assert done.returncode == 0, done.stderr
        assert len(platform.created) == 1, "the job was found, not created again"
    (row,) = rows(tmp_path / "out").values()
    assert row["job"]["job"] == platform.created[0].training_job_name
    assert not list((tmp_path / "out" / "jobs").iterdir())

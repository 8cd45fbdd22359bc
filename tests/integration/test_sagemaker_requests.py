"""What SageMaker is asked for, and what is said where a job cannot start."""

import json

from tests.integration.conftest import write_tiny_config
from tests.support.command import quantbench
from tests.support.training_jobs import ARGS, STOP, Platform

from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.launchers import _sagemaker_container
from quantbench.schema.results import Job, Result

BACKEND = {"name": "sagemaker-training", "args": ARGS}


def test_a_dry_run_prints_the_request_that_is_made(tiny, tmp_path):
    args = {**ARGS, "spot": True, "tags": {"team": "search"}, "max_runtime": 900, "volume_size": 50}
    backend = {"name": "sagemaker-training", "args": args}
    config = write_tiny_config(tiny, tmp_path / "tiny.yaml", backend=backend)
    with Platform(tmp_path / "platform", {"": [STOP]}) as platform:
        said = quantbench("run", config, "--out", tmp_path / "out", "--dry-run", cwd=tmp_path, **platform.environment)
        assert said.returncode == 0, said.stderr
        assert not (tmp_path / "out").exists()
        assert not platform.created
        done = quantbench("run", config, "--out", tmp_path / "out", cwd=tmp_path, **platform.environment)
        assert done.returncode == 3, done.stderr
        (made,) = platform.requests
    (told,) = json.loads(said.stdout)
    assert told["ResourceConfig"] == made["resource_config"]
    assert (
        told["StoppingCondition"]
        == made["stopping_condition"]
        == {
            "MaxRuntimeInSeconds": 900,
            "MaxWaitTimeInSeconds": 1800,
        }
    )
    assert told["EnableManagedSpotTraining"] is made["enable_managed_spot_training"] is True
    assert told["Tags"] == made["tags"] == [{"Key": "team", "Value": "search"}]
    assert told["HyperParameters"] == made["hyper_parameters"]
    channels = [{**channel, "DataSource": None} for channel in told["InputDataConfig"]]
    assert channels == [{**channel, "DataSource": None} for channel in made["input_data_config"]]


def test_without_credentials_there_is_one_message(tiny, tmp_path):
    config = write_tiny_config(
        tiny, tmp_path / "tiny.yaml", backend={**BACKEND, "args": {**ARGS, "region": "us-east-1"}}
    )
    nobody = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    said = quantbench("run", config, "--out", tmp_path / "out", cwd=tmp_path, **nobody)
    assert said.returncode == 2
    assert "no AWS credentials" in said.stderr
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "out").exists()


def lay_out(root, job):
    channel = root / "input" / "data" / "config"
    channel.mkdir(parents=True)
    (root / "model").mkdir()
    (channel / "job.json").write_text(job)


def the_job(tiny, path, **changes):
    (run,) = make_plan(load_config(write_tiny_config(tiny, path, **changes))).runs
    return Job(run=run)


def test_the_container_says_why_it_cannot_start(tmp_path, monkeypatch, capsys):
    lay_out(tmp_path, "{}")
    monkeypatch.setenv(_sagemaker_container.ROOT, str(tmp_path))
    assert _sagemaker_container.main() != 0
    assert "run" in (tmp_path / "output" / "failure").read_text()


def test_a_host_without_the_instructions_fails_with_what_it_has(tiny, tmp_path, monkeypatch):
    backend = {"name": "sagemaker-training", "args": {**ARGS, "supported_instructions": "amx"}}
    job = the_job(tiny, tmp_path / "tiny.yaml", backend=backend)
    lay_out(tmp_path / "ml", job.model_dump_json())
    monkeypatch.setenv(_sagemaker_container.ROOT, str(tmp_path / "ml"))
    monkeypatch.setattr("quantbench.system.instruction_sets.REQUIRED", {"amx": "an_instruction_that_no_host_has"})
    assert _sagemaker_container.main() != 0
    reason = (tmp_path / "ml" / "output" / "failure").read_text()
    assert "this machine has no an_instruction_that_no_host_has; it has" in reason
    result = Result.model_validate_json((tmp_path / "ml" / "output" / "data" / "result.json").read_bytes())
    assert result.failure is not None
    assert result.failure.reason in reason


def test_a_long_reason_is_cut_to_what_the_platform_keeps(tmp_path):
    _sagemaker_container._fail(tmp_path, "x" * 5000)
    assert len((tmp_path / "output" / "failure").read_text()) == 1024

"""The one contract: ``python -m quantbench.pipeline.worker run.json result.json``."""

import json
import subprocess
import sys

import pytest
from tests.integration.conftest import write_tiny_config

from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.schema.results import Job, Result


def worker(*arguments, cwd):
    command = [sys.executable, "-m", "quantbench.pipeline.worker", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def job(tiny, tmp_path):
    def make(places=None, **changes):
        (run,) = make_plan(load_config(write_tiny_config(tiny, tmp_path / "tiny.yaml", **changes))).runs
        (tmp_path / "run.json").write_text(Job(run=run, places=places or {}).model_dump_json())
        return run

    return make


def result(folder):
    return Result.model_validate_json((folder / "result.json").read_bytes())


@pytest.mark.slow
def test_a_run_becomes_a_result_and_a_model_beside_it(job, tmp_path, tiny):
    elsewhere = {"/not/here/model": str(tiny / "model"), "/not/here/data": str(tiny / "data" / "conll2003")}
    dataset = {
        "path": "/not/here/data", "eval_split": "validation", "calibration_split": "train",
        "data_keys": {"primary": "tokens"}, "ref_keys": ["ner_tags"],
    }  # fmt: skip
    run = job(places=elsewhere, model_name_or_path="/not/here/model", dataset=dataset)
    done = worker("run.json", "out/result.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = result(tmp_path / "out")
    assert found.done
    assert found.run == run
    assert found.environment.host
    assert (tmp_path / "out" / found.artifact.path).is_file()


def test_a_run_that_fails_is_a_result_with_the_reason(job, tmp_path):
    job(node_exclusion=["gelu"], framework_args={"opset": 20}, model_name_or_path=str(tmp_path / "gone"))
    done = worker("run.json", "result.json", cwd=tmp_path)
    assert done.returncode == 3
    found = result(tmp_path)
    assert "does not exist" in found.failure.reason
    assert found.failure.reason in " ".join(done.stderr.split())


def test_threads_that_the_machine_does_not_have_are_the_reason_of_a_failed_run(job, tmp_path):
    job(time_benchmark_args={"duration": 1, "num_threads": 4096})
    assert worker("run.json", "result.json", cwd=tmp_path).returncode == 3
    assert "num_threads is 4096, but no more than" in result(tmp_path).failure.reason


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"run": 1})])
def test_what_is_no_job_is_one_message(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    done = worker("run.json", "result.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "is no job" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "result.json").exists()

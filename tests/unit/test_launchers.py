"""What may stand under ``backend``, and what launchers ask for, without a cluster or an account."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import reference_config

from quantbench.cli_options import interrupted
from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput
from quantbench.launchers import ray, sagemaker_training
from quantbench.plugins import registry
from quantbench.plugins.arguments import mistakes
from quantbench.plugins.protocols import LaunchContext
from quantbench.results.store import Store
from quantbench.schema.results import Run
from quantbench.system.environment import detect
from quantbench.system.progress import Silent

ARGS = {
    "instance_type": "ml.g4dn.2xlarge",
    "role": "arn:aws:iam::123456789012:role/quantbench",
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/quantbench:1",
    "bucket": "some-bucket",
}


def write(tmp_path, backend):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "task: token-classification\nmodel_name_or_path: demo\ndataset: demo\nquantization_approach: dynamic\n"
        + backend
    )
    return path


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("backend: {name: ray, args: {retries: -1}}", "retries: is -1; must be a whole number, 0 or more"),
        ("backend: {name: ray, args: {address: 7}}", "address: is 7; must be text"),
        ("backend: {name: ray, args: {labels: [a]}}", "labels: is ['a']; must map labels of nodes to values"),
        ("backend: {name: ray, args: {adress: auto}}", "did you mean 'address'"),
        ("backend: {name: sagemaker-training}", "instance_type: is missing; set an instance type such as"),
        ("backend: sagemaker", "unknown backend 'sagemaker'; did you mean 'sagemaker-training'"),
        ("backend: {name: local, args: {role: x}}", "unknown argument of backend local 'role'"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, backend, message):
    with pytest.raises(BadInput) as error:
        load_config(write(tmp_path, backend))
    assert re.search(r"mine.yaml:5: ", str(error.value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("role", "quantbench"),
        ("instance_type", "c7i.large"),
        ("max_runtime", 0),
        ("volume_size", True),
        ("spot", "yes"),
        ("tags", {"a": 1}),
        ("region", "Frankfurt"),
        ("bucket", "Not A Bucket"),
    ],
)
def test_sagemakers_arguments_are_checked(name, value):
    ((where, message),) = mistakes(sagemaker_training.Args, {**ARGS, name: value}).items()
    assert where == name
    assert message.startswith(f"is {value!r}; must ")


def test_good_arguments_are_no_mistake():
    whole = {"spot": True, "tags": {"a": "b"}, "max_runtime": 60, "region": "eu-central-1", "retries": 0}
    assert mistakes(sagemaker_training.Args, {**ARGS, **whole}) == {}
    assert mistakes(ray.Args, {"address": "auto", "labels": {"zone": "a"}, "retries": 0, "instance_type": "x"}) == {}
    assert mistakes(ray.Args, {}) == {}


def test_every_wrong_argument_is_told_at_its_own_line(tmp_path):
    lines = "backend:\n  name: ray\n  args:\n    retries: -1\n    labels: {zone: 1}\n    supported_instructions: [a]\n"
    with pytest.raises(BadInput) as error:
        load_config(write(tmp_path, lines))
    told = str(error.value)
    assert "mine.yaml:8: retries: is -1; must be a whole number, 0 or more" in told
    assert "mine.yaml:9: labels: is {'zone': 1}; must map labels of nodes to values, such as {zone: a}" in told
    assert "mine.yaml:10: unknown supported_instructions" in told


@pytest.mark.parametrize("name", registry.names("launchers"))
def test_every_argument_says_what_it_must_be(name):
    fields = registry.launcher(name).Args.model_fields
    assert all(fields[arg].description for arg in fields if arg != "supported_instructions")


@given(st.text(max_size=200), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_job_names_keep_to_the_limits(name, key):
    run = Run.model_construct(name=name, key=key)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", sagemaker_training._name(run))
    assert sagemaker_training._name(run) != sagemaker_training._name(run)


def test_the_request_of_a_run(snapshot):
    config = reference_config("backend={name: sagemaker-training, args: " + str(ARGS).replace("'", '"') + "}")
    run = make_plan(config).runs[0]
    assert sagemaker_training._request(run, "quantbench-name", "some-bucket", Store(Path("out"))) == snapshot


def test_a_ray_task_takes_the_slot_and_is_capped(tmp_path):
    config = reference_config(
        "backend={name: ray, args: {instance_type: c7i.large, labels: {zone: a}, supported_instructions: avx2}}"
    )
    first, second = ray.requests(make_plan(config).runs, Store(tmp_path))
    assert first["options"] == second["options"]
    assert first["options"]["resources"] == {ray.SLOT: 1}
    assert first["options"]["label_selector"] == {"zone": "a", "instance_type": "c7i.large"}
    assert first["options"]["runtime_env"]["env_vars"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_an_interrupt_says_that_what_was_under_way_on_ray_is_begun_again(tmp_path, monkeypatch):
    def stopped(_tasks):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(ray._Tasks, "finished", stopped)
    monkeypatch.setattr(ray._Cluster, "nodes", lambda _: [])
    runs = make_plan(reference_config("backend={name: ray, args: {address: 'host:1'}}")).runs
    context = LaunchContext(Store(tmp_path), detect(), Silent(), execute=lambda _: ())
    with pytest.raises(KeyboardInterrupt) as caught:
        list(ray._results(ray._Cluster(ray.Args()), runs, context))
    told = interrupted(tmp_path, str(caught.value))
    assert told.startswith("interrupted: 0 run(s) are finished and kept, what was under way on the cluster ends")
    assert "is begun again; the same command goes on from there" in told


@pytest.mark.parametrize("name", registry.names("launchers"))
def test_requests_are_documents_and_write_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    args = str(ARGS).replace("'", '"') if name == "sagemaker-training" else "{}"
    runs = make_plan(reference_config(f"backend={{name: {name}, args: {args}}}")).runs
    documents = registry.launcher(name).requests(runs, Store(tmp_path / "out"))
    assert len(documents) == 2
    assert "secret" not in str(documents)
    assert not (tmp_path / "out").exists()

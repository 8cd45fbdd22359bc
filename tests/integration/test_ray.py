"""A real Ray cluster of two node processes on this machine: placement, agreement, and what is killed in the middle."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import onnxruntime
import psutil
import pytest
from tests.integration.conftest import write_tiny_config
from tests.support.command import quantbench
from tests.support.processes import FORKING

from quantbench.launchers.ray import INSTANCE_TYPE, SLOT

DEADLINE = 300
KIND = "c7i.large"
GRID = {"node_exclusion": [[], ["gelu"]]}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """A head without a slot and two nodes with one each; a test that removes a node adds another."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.nodes = [add_node(made) for _ in range(2)]
    yield made
    made.shutdown()


def add_node(cluster):
    return cluster.add_node(num_cpus=1, resources={SLOT: 1}, labels={INSTANCE_TYPE: KIND})


def backend(cluster, **args):
    return {"name": "ray", "args": {"address": cluster.address, **args}}


def rows(folder):
    return {row["name"]: row for row in json.loads((folder / "summary.json").read_text())["runs"]}


@pytest.fixture(scope="module")
def whole(tiny, cluster, tmp_path_factory):
    """Two runs on the cluster, whose driver is killed after the first and started again; one of them on this machine.

    The folder, and the results that were there when the driver died, with the time of their writing.
    """
    root = tmp_path_factory.mktemp("ray")
    config = slow_config(
        tiny, root / "ray.yaml", cluster, benchmarked=GRID, backend=backend(cluster, instance_type=KIND)
    )
    driver = Driver(config, root / "ray")
    deadline = time.monotonic() + DEADLINE
    while not written(root / "ray") and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(driver.process.pid, signal.SIGKILL)
    driver.process.wait()
    before = written(root / "ray")
    again = Driver(config, root / "ray")
    assert again.code() == 0, again.log.read_text()
    config = write_tiny_config(tiny, root / "local.yaml", benchmarked=GRID)
    done = quantbench("run", config, "--out", root / "local", "--only", "*gelu", cwd=root)
    assert done.returncode == 0, done.stderr
    return root, before


def written(folder):
    """Results by name, with the time of their writing."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "results").glob("[!.]*.json")}


def test_a_killed_driver_is_picked_up_without_running_anything_twice(whole):
    root, before = whole
    assert before
    assert len(written(root / "ray")) == 2
    assert before.items() <= written(root / "ray").items()


def test_metrics_are_those_of_this_machine_to_the_last_digit(whole):
    root, _ = whole
    (name, here), there = next(iter(rows(root / "local").items())), rows(root / "ray")
    assert len(there) == 2
    for key in ("metrics", "difference"):
        assert there[name][key] == here[key]
    assert there[name]["artifact"]["sha256"] == here["artifact"]["sha256"]


def test_models_come_back_and_load(whole):
    root, _ = whole
    for row in rows(root / "ray").values():
        onnxruntime.InferenceSession(str(root / "ray" / row["artifact"]["path"]))


def test_the_card_says_where_each_row_ran(whole):
    root, _ = whole
    card = (root / "ray" / "card.md").read_text()
    assert "**Backend:** `ray`" in card
    for row in rows(root / "ray").values():
        assert row["job"]["instance_type"] == KIND
        assert row["job"]["attempts"] == 1
        assert row["job"]["node"] in card


def test_a_label_that_no_node_has_is_one_message(tiny, cluster, tmp_path):
    config = write_tiny_config(tiny, tmp_path / "tiny.yaml", backend=backend(cluster, instance_type="m7i.large"))
    said = quantbench("run", config, "--out", tmp_path / "out", cwd=tmp_path)
    assert said.returncode == 2
    assert f"no node of the Ray cluster takes runs (resource {SLOT}, label instance_type=m7i.large)" in said.stderr
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_is_not_there_is_one_message(tiny, tmp_path):
    config = write_tiny_config(
        tiny, tmp_path / "tiny.yaml", backend={"name": "ray", "args": {"address": "127.0.0.1:1"}}
    )
    said = quantbench("run", config, "--out", tmp_path / "out", cwd=tmp_path)
    assert said.returncode == 2
    assert "no Ray cluster at '127.0.0.1:1'" in said.stderr
    assert "Traceback" not in said.stderr


class Driver:
    """A running ``quantbench run`` with enough timing that it can be met in the middle of a run."""

    def __init__(self, config, folder):
        self.folder = folder
        self.log = folder.with_suffix(".log")
        command = [sys.executable, "-m", "quantbench", "run", str(config), "--out", str(folder)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def worker(self):
        """The Ray worker that executes a run now, once it times: it has started arms."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            for process in psutil.process_iter(["cmdline"]):
                if FORKING in (process.info["cmdline"] or []):
                    with contextlib.suppress(psutil.NoSuchProcess):  # it may end, or be killed and not yet waited for
                        parent = process.parent()
                        if parent is not None and "ray::" in " ".join(parent.cmdline()):
                            return parent
            time.sleep(0.1)
        raise AssertionError(f"no run was started: {self.log.read_text()}")

    def code(self):
        return self.process.wait(DEADLINE)


def slow_config(tiny, path, cluster, **changes):
    """Runs that are timed for some seconds."""
    slow = {"duration": 1.5, "warmup_runs": 1, "precision": 0.9}
    return write_tiny_config(tiny, path, **{"backend": backend(cluster), "time_benchmark_args": slow, **changes})


def test_a_run_whose_worker_and_whose_node_die_is_tried_again_on_another(tiny, cluster, tmp_path):
    driver = Driver(slow_config(tiny, tmp_path / "slow.yaml", cluster), tmp_path / "out")
    killed = driver.worker()
    killed.send_signal(signal.SIGKILL)
    killed.wait(DEADLINE)
    raylet = next(parent for parent in driver.worker().parents() if "raylet" in parent.name())
    node = next(node for node in cluster.nodes if node.all_processes["raylet"][0].process.pid == raylet.pid)
    died = node.node_id[:12]
    cluster.remove_node(node, allow_graceful=False)
    cluster.nodes.remove(node)
    assert driver.code() == 0, driver.log.read_text()
    (row,) = rows(tmp_path / "out").values()
    assert row["job"]["attempts"] == 3
    assert row["job"]["node"] != died
    assert "is tried again: the worker process died" in " ".join(driver.log.read_text().split())
    cluster.nodes.append(add_node(cluster))


def test_a_run_that_loses_every_worker_is_a_row_with_the_reason(tiny, cluster, tmp_path):
    args = backend(cluster, retries=0)
    slow = {"duration": 1.5, "warmup_runs": 1, "precision": 0.9}
    config = write_tiny_config(tiny, tmp_path / "slow.yaml", backend=args, time_benchmark_args=slow)
    driver = Driver(config, tmp_path / "out")
    driver.worker().send_signal(signal.SIGKILL)
    assert driver.code() == 3, driver.log.read_text()
    (row,) = rows(tmp_path / "out").values()
    assert row["reason"] == "the worker process died, 1 times"


def test_without_an_address_ray_is_started_here(tiny, tmp_path):
    config = write_tiny_config(tiny, tmp_path / "tiny.yaml", backend="ray")
    done = quantbench("run", config, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = rows(tmp_path / "out").values()
    assert row["status"] == "done"

"""Arms are forked from a process that has imported their libraries, and are what a process of their own would be."""

import os
import signal
import time

import numpy as np
import psutil
import pytest
from tests.support.processes import FORKING, arms_of, still_alive
from tests.support.tiny_models import write_relu

from quantbench.errors import ArmFailed
from quantbench.timing import forks
from quantbench.timing.process import ArmProcess
from quantbench.timing.session import Shape

pytestmark = pytest.mark.skipif(not forks.SAFE, reason="arms are forked on Linux alone")
SHAPE = Shape(1, 8, [{"x": np.ones((1, 8), dtype=np.float32)}])


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return write_relu(tmp_path_factory.mktemp("arm") / "model.onnx")


@pytest.fixture
def started(spec):
    """Starts arms, and ends them all."""
    arms = []

    def start(name="arm", **changes):
        arms.append(ArmProcess(name, spec.model_copy(update=changes), 1))
        arms[-1].load()
        return arms[-1]

    forks.close()
    yield start
    for arm in arms:
        arm.close()
    forks.close()


def parent(arm):
    return psutil.Process(arm.process.pid).parent()


def answers(arm):
    return arm.ask("predict", dict(SHAPE.batches[0]))[0].tolist() == [[1.0] * 8]


def test_arms_of_a_runtime_are_forked_from_one_process_that_takes_no_time(started):
    one, other = started(), started()
    assert parent(one) == parent(other)
    assert FORKING in parent(one).cmdline()
    before = parent(one).cpu_times()
    assert answers(one)
    assert answers(other)
    time.sleep(0.2)
    assert parent(one).cpu_times()[:2] == before[:2]


def test_an_arm_leads_a_session_of_its_own_with_no_pipe_of_another(started):
    one, other = started(), started()
    pids = {one.process.pid, other.process.pid}
    assert {os.getsid(pid) for pid in pids} == pids
    one._connection.close()
    assert one.process.wait(timeout=10) == 0, "the other has no end of its pipe"
    assert answers(other)


def test_variables_that_change_reach_the_next_arm(started, monkeypatch):
    before = started()
    monkeypatch.setenv("QUANTBENCH_TEST", "1")
    after = started()
    assert parent(after) != parent(before)
    assert parent(after).environ()["QUANTBENCH_TEST"] == "1"
    assert answers(before), "it goes on without what it was forked from"


def test_a_folder_that_changes_is_that_of_the_next_arm(started, monkeypatch, tmp_path):
    started()
    monkeypatch.chdir(tmp_path)
    assert psutil.Process(started().process.pid).cwd() == str(tmp_path.resolve())


def test_what_is_forked_from_may_be_killed(started):
    arm = started()
    parent(arm).kill()
    assert answers(arm)
    arm.close()
    assert answers(started())


def test_signals_and_exit_codes_are_those_of_the_arm(started):
    arm = started("killed")
    os.kill(arm.process.pid, signal.SIGTERM)
    with pytest.raises(ArmFailed, match=r"arm killed was killed by SIGTERM$"):
        arm.ask("peak")


def test_libraries_that_cannot_be_imported_are_named(started):
    with pytest.raises(ArmFailed, match=r"arm arm cannot be started: its libraries could not be imported: .*nothing'"):
        started(runtime="nothing")


def test_nothing_stays_behind(started):
    arm = started()
    processes = [parent(arm), psutil.Process(arm.process.pid)]
    arm.close()
    forks.close()
    assert not arms_of(os.getpid())
    assert not still_alive(processes)

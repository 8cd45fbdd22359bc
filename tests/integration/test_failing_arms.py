"""Single arms that hang, are starved of memory or cannot start: what is said of them, and that the others go on."""

import os
import sys
import threading
import time

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper
from tests.support.processes import arms_of, little_memory, still_alive

from quantbench.errors import ArmFailed
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.system.files import file_sha256
from quantbench.timing import process
from quantbench.timing.process import ArmProcess
from quantbench.timing.session import Shape, time_arms

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes, /proc")

ARGS = TimeBenchmarkArgs(duration=1, warmup_runs=1, precision=0.99)
LARGE = 100_000_000
"""Numbers of four bytes."""


def write_model(path, operator, name, kind):
    """A model of one operator; gives its arm."""
    graph = helper.make_graph(
        [helper.make_node(operator, [name], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, kind, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return ArmSpec(runtime="onnxruntime", path=str(path), sha256=file_sha256(path), options={"optimization_level": 99})


@pytest.fixture(scope="module")
def modest(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("modest") / "model.onnx", "Relu", "x", TensorProto.FLOAT)


@pytest.fixture(scope="module")
def greedy(tmp_path_factory):
    """The arm of a model that makes a tensor of as many numbers as it is told to."""
    return write_model(tmp_path_factory.mktemp("greedy") / "model.onnx", "ConstantOfShape", "n", TensorProto.INT64)


def shape(numbers=8, wanted=8):
    return Shape(1, 8, [{"x": np.ones(numbers, dtype=np.float32), "n": np.array([wanted])}])


def meanwhile(count, act):
    """Start a thread that does something to an arm as soon as this process has started so many; gives all of them."""
    arms = []

    def watch():
        while len(arms) < count:
            arms[:] = arms_of(os.getpid())
            time.sleep(0.005)
        act(arms)

    threading.Thread(target=watch, daemon=True).start()
    return arms


def test_an_arm_that_hangs_is_given_up_and_the_others_go_on(modest, monkeypatch):
    monkeypatch.setattr(process, "CALL_TIMEOUT", 1.0)
    monkeypatch.setattr(process, "LOAD_TIMEOUT", 10.0)

    def stop(arms):
        before = arms[1].cpu_times().user
        while arms[1].cpu_times().user < before + 0.1:
            time.sleep(0.005)
        arms[0].suspend()

    arms = meanwhile(2, stop)
    outcome = time_arms({"first": modest, "second": modest}, "second", [shape()], ARGS, 1, lambda n: None)
    assert list(outcome.failures) == ["first"]
    assert "arm first gave no answer to" in outcome.failures["first"]
    assert list(outcome.shapes[0].arms) == ["second"]
    seconds = sum(sum(slot.nanoseconds) for slot in outcome.shapes[0].arms["second"].slots) / 1e9
    assert seconds >= ARGS.duration
    assert not still_alive(arms)


def test_an_arm_that_does_not_even_read_is_given_up(modest):
    arm = ArmProcess("deaf", modest, 1)
    try:
        arm.load()
        process = psutil.Process(arm.process.pid)
        process.suspend()
        with pytest.raises(ArmFailed, match=r"arm deaf gave no answer to 'shape' within 1 s"):
            arm.ask("shape", list(shape(numbers=4_000_000).batches), timeout=1)
    finally:
        arm.close()
    assert not still_alive([process])


def test_slow_calls_are_no_hang(greedy, monkeypatch):
    monkeypatch.setattr(process, "CALL_TIMEOUT", 1.0)
    args = TimeBenchmarkArgs(duration=0.2, warmup_runs=80, precision=0.99)
    outcome = time_arms({"a": greedy}, "a", [shape(wanted=LARGE // 2)], args, 1, lambda n: None)
    assert not outcome.failures


def test_memory_that_cannot_be_had_is_named(greedy):
    arm = ArmProcess("greedy", greedy, 1)
    try:
        arm.load()
        process = psutil.Process(arm.process.pid)
        limit = process.memory_info().vms + 50 * 2**20
        process.rlimit(psutil.RLIMIT_AS, (limit, limit))
        assert arm.ask("shape", list(shape().batches)) > 0
        with pytest.raises(ArmFailed, match=r"(?i)arm greedy: .*(alloc|memory)"):
            arm.ask("shape", list(shape(wanted=LARGE).batches))
    finally:
        arm.close()


def test_the_kernel_kills_an_arm_that_takes_too_much_memory(greedy, modest):
    with little_memory(100) as group:
        if group is None:
            pytest.skip("a control group needs root")
        arms = meanwhile(1, lambda arms: (group / "cgroup.procs").write_text(str(arms[0].pid)))
        outcome = time_arms({"a": greedy, "b": modest}, "b", [shape(wanted=LARGE)], ARGS, 1, lambda n: None)
        assert outcome.failures == {"a": "arm a was killed by SIGKILL (out of memory?)"}
        assert outcome.shapes[0].arms["b"].slots
        assert not still_alive(arms)


def test_a_process_that_cannot_be_started_is_named(modest, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    outcome = time_arms({"a": modest}, "a", [shape()], ARGS, 1, lambda n: None)
    assert outcome.failures == {"a": "arm a cannot be started: No such file or directory"}

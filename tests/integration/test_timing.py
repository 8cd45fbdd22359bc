"""Real processes, real pipes: arms that work, fail to load, die, hang."""

import os
import re
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from tests.support.processes import FORKING, arms_of
from tests.support.tiny_models import write_relu

from quantbench.analysis.intervals import Interval
from quantbench.analysis.undisturbed import FEWEST_ROUNDS
from quantbench.errors import ArmFailed
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.system import priority
from quantbench.system.progress import Silent
from quantbench.timing import forks, quick, session
from quantbench.timing.looks import SOONEST, USUAL, Watch
from quantbench.timing.process import ArmProcess
from quantbench.timing.session import Shape, time_arms

ARGS = TimeBenchmarkArgs(duration=0.4, warmup_runs=2, precision=0.9)
SHAPE = Shape(1, 8, [{"x": np.ones((1, 8), dtype=np.float32)}])


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A model small enough that only the process around it matters."""
    return write_relu(tmp_path_factory.mktemp("arm") / "model.onnx")


def broken(spec):
    return spec.model_copy(update={"path": spec.path + ".missing"})


def test_arms_are_interleaved_and_raw_samples_kept(spec):
    told = []
    outcome = time_arms({"a": spec, "b": spec}, "a", [SHAPE], ARGS, 1, told.append)
    assert not outcome.failures
    a, b = outcome.shapes[0].arms["a"], outcome.shapes[0].arms["b"]
    orders = sorted((slot.order, name) for name, arm in (("a", a), ("b", b)) for slot in arm.slots)
    assert [order for order, _ in orders] == list(range(len(orders)))
    assert all({orders[i][1], orders[i + 1][1]} == {"a", "b"} for i in range(0, len(orders), 2))
    assert len({name for _, name in orders[::2]}) == 2, "the order of a round is drawn anew"
    for arm in (a, b):
        assert sum(sum(slot.nanoseconds) for slot in arm.slots) >= ARGS.duration * 1e9
        assert all(len(slot.nanoseconds) >= USUAL.calls for slot in arm.slots)
        assert arm.load_seconds[0] > 0
        assert arm.first_call_seconds[0] > 0
        assert arm.peak_memory_bytes[0] > 1e7


def test_an_arm_that_cannot_load_is_left_out_and_the_other_goes_on(spec):
    outcome = time_arms({"good": spec, "bad": broken(spec)}, "good", [SHAPE], ARGS, 1, lambda n: None)
    assert "bad" in outcome.failures
    assert "missing" in outcome.failures["bad"]
    assert outcome.shapes[0].arms["good"].slots


def test_an_arm_that_is_killed_is_reported_with_the_signal(spec):
    args = TimeBenchmarkArgs(duration=2, warmup_runs=0, precision=0.9)
    threading.Thread(target=_kill_first_arm, daemon=True).start()
    outcome = time_arms({"first": spec, "second": spec}, "first", [SHAPE], args, 1, lambda n: None)
    assert len(outcome.failures) == 1
    assert "SIGKILL" in next(iter(outcome.failures.values()))
    assert len(outcome.shapes[0].arms) == 1


def _kill_first_arm():
    while len(arms := arms_of(os.getpid())) < 2:
        time.sleep(0.01)
    os.kill(arms[0].pid, signal.SIGKILL)


def test_an_arm_that_gives_no_answer_is_given_up(spec):
    arm = ArmProcess("slow", spec, 1)
    try:
        arm.load()
        arm.ask("shape", list(SHAPE.batches))
        with pytest.raises(ArmFailed, match=r"no answer to 'slot' within 0 s"):
            arm.ask("slot", 60.0, 3, timeout=0.2)
    finally:
        begin = time.monotonic()
        arm.close()
    assert time.monotonic() - begin < 10


def test_no_process_stays_behind(spec):
    time_arms({"a": spec, "b": broken(spec)}, "a", [SHAPE], ARGS, 1, lambda n: None)
    assert not arms_of(os.getpid())
    forks.close()
    assert not [p for p in psutil.Process().children() if FORKING in p.cmdline()]


def test_an_arm_ends_when_its_parent_is_gone(spec):
    arm = ArmProcess("orphan", spec, 1)
    arm.load()
    arm._connection.close()
    arm.process.wait(timeout=10)
    arm.close()


def test_threads_and_affinity_are_those_asked_for(spec):
    arm = ArmProcess("pinned", spec, 1)
    try:
        arm.load()
        process = psutil.Process(arm.process.pid)
        assert process.cpu_affinity() == sorted(os.sched_getaffinity(0))[:1]
    finally:
        arm.close()


@pytest.mark.parametrize("wanted", [priority.HIGH, priority.NORMAL])
def test_all_threads_of_an_arm_have_the_priority_that_is_told(spec, monkeypatch, wanted):
    monkeypatch.setenv(priority.VARIABLE, wanted)
    arm = ArmProcess("favoured", spec, len(os.sched_getaffinity(0)))
    try:
        arm.load()
        arm.ask("shape", list(SHAPE.batches))
        found = {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in psutil.Process(arm.process.pid).threads()}
    finally:
        arm.close()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert found == {priority.NICENESS if priority.of_timed() == priority.HIGH else own}


def test_more_launches_follow_where_they_differ_by_too_much(spec):
    """Every shape is launched again for as long as its own intervals are wide, at most twice as often as asked for."""
    narrow, wide = 1e-9, 0.9
    for precision, launches in ((narrow, 6), (wide, 3)):
        args = TimeBenchmarkArgs(duration=1.5, warmup_runs=1, launches=3, precision=precision)
        outcome = time_arms({"a": spec, "b": spec}, "a", [SHAPE], args, 1, lambda n: None, watch=Watch(lambda _: None))
        (shape,) = outcome.shapes
        assert {len(arm.load_seconds) for arm in shape.arms.values()} == {launches}
        assert sorted({slot.launch for slot in shape.arms["b"].slots}) == list(range(launches))
        assert shape.extended is (precision == narrow)


def test_launches_share_the_duration_and_start_anew(spec):
    args = TimeBenchmarkArgs(duration=0.6, warmup_runs=1, launches=2, precision=0.9)
    measured = time_arms({"a": spec, "b": spec}, "a", [SHAPE], args, 1, lambda n: None).shapes[0]
    for arm in measured.arms.values():
        assert {slot.launch for slot in arm.slots} == {0, 1}
        assert len(arm.load_seconds) == len(arm.first_call_seconds) == len(arm.peak_memory_bytes) == 2
        assert all(sum(slot_seconds(arm, launch)) >= 0.3 for launch in (0, 1))
    first = [slot_seconds(arm, 0) for arm in measured.arms.values()]
    assert min(sum(seconds[:-1]) for seconds in first) < 0.3, (
        "the last round of a launch was still needed for its share"
    )


def slot_seconds(arm, launch):
    return [sum(slot.nanoseconds) / 1e9 for slot in arm.slots if slot.launch == launch]


def test_wide_intervals_double_the_duration_of_all_arms_alike(spec):
    args, told = TimeBenchmarkArgs(duration=1.0, warmup_runs=1, precision=1e-9), []
    watch = Watch(told.append)
    measured = time_arms({"a": spec, "b": spec}, "a", [SHAPE], args, 1, lambda n: None, watch=watch).shapes[0]
    assert measured.extended
    for arm in measured.arms.values():
        assert arm.seconds >= 2
        assert [slot.round for slot in arm.slots] == list(range(len(arm.slots)))
    assert all(re.fullmatch(r"intervals of ±\d+\.\d % or narrower", text) for text in told)
    assert told


def test_narrow_intervals_end_the_timing_of_all_arms_sooner_and_the_bar_with_it(spec):
    args, told = TimeBenchmarkArgs(duration=8.0, warmup_runs=1, precision=0.99), []
    watch = Watch(lambda _: None)
    measured = time_arms({"a": spec, "b": spec}, "a", [SHAPE], args, 1, told.append, watch=watch).shapes[0]
    assert not measured.extended
    rounds = {len(arm.slots) for arm in measured.arms.values()}
    assert len(rounds) == 1
    assert rounds.pop() >= FEWEST_ROUNDS
    assert all(SOONEST * 8 <= arm.seconds < 8 for arm in measured.arms.values())
    assert sum(told) == pytest.approx(16, abs=1)


def test_without_a_watch_the_duration_is_the_duration(spec):
    args = TimeBenchmarkArgs(duration=1.0, warmup_runs=1, precision=1e-9)
    measured = time_arms({"a": spec, "b": spec}, "a", [SHAPE], args, 1, lambda n: None).shapes[0]
    assert not measured.extended
    assert all(1 <= arm.seconds < 1.6 for arm in measured.arms.values())


def test_slots_get_shorter_where_the_warm_up_was_held_up(spec, monkeypatch):
    """Or else a load during the warm-up leaves too few rounds for the whole session."""
    monkeypatch.setattr(session._Session, "_warm", lambda *_: [200_000_000])
    args = TimeBenchmarkArgs(duration=2.0, warmup_runs=1, precision=0.9)
    measured = time_arms({"a": spec, "b": spec}, "a", [SHAPE], args, 1, lambda n: None).shapes[0]
    planned = USUAL.calls * 0.2
    assert measured.slot_seconds == USUAL.seconds
    for arm in measured.arms.values():
        first, *others = slot_seconds(arm, 0)
        assert first >= planned
        assert len(others) > 2.0 / planned


def test_every_slot_says_what_the_machine_did(spec):
    arm = time_arms({"a": spec, "b": spec}, "a", [SHAPE], ARGS, 1, lambda n: None).shapes[0].arms["a"]
    assert all(slot.load >= 0 and slot.involuntary_switches >= 0 for slot in arm.slots)
    assert all(slot.steal_seconds is not None and slot.steal_seconds >= 0 for slot in arm.slots)


def test_batches_of_a_shape_are_called_in_whole_passes(spec):
    batches = [{"x": np.ones((1, width), dtype=np.float32)} for width in (4, 8, 16)]
    shape = Shape(1, "dataset", batches)
    arm = time_arms({"a": spec, "b": spec}, "a", [shape], ARGS, 1, lambda n: None).shapes[0].arms["a"]
    assert all(len(slot.nanoseconds) % 3 == 0 for slot in arm.slots)


def test_a_probe_times_what_is_the_same_once_and_tells_both_names(spec):
    other = spec.model_copy(update={"options": {"optimization_level": 0}})
    bad = broken(spec).model_copy(update={"sha256": "none"})
    specs = {"float": spec, "candidate": spec, "other": other, "missing": bad, "missing too": bad}
    found = quick.probe(specs, ["candidate"], [SHAPE], ARGS, 1, Silent(), 12, 1.03, 60)
    assert found.against == "candidate"
    assert found.seconds["float"] == found.seconds["candidate"]
    assert found.ratios["float"] == Interval(1.0, 1.0, 1.0)
    assert "other" in found.ratios
    assert found.failures["missing"] == found.failures["missing too"]
    assert found.seconds.keys() == {"float", "candidate", "other"}

"""What a call waited for a CPU is told from what it took."""

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.timing.waits import TASKS, Seen, Threads, held_up

NOTHING = Seen(0, 0)
spent = st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)))


@given(spent, st.integers(1, 10**9))
def test_a_call_is_never_shorter_than_its_busiest_thread_ran(found, took):
    after = {name: Seen(*both) for name, both in found.items()}
    held = held_up(dict.fromkeys(after, NOTHING), after, took)
    assert 0 <= held <= max((seen.waiting for seen in after.values()), default=0)
    busiest = max((seen.running for seen in after.values()), default=0)
    assert took - held >= min(took, busiest)


def test_waits_at_once_count_once_and_new_threads_not_at_all():
    before = {"a": Seen(5, 100), "b": Seen(5, 0)}
    after = {"a": Seen(25, 130), "b": Seen(15, 40), "new": Seen(0, 1000)}
    assert held_up(before, after, took=70) == 40
    assert held_up(before, after, took=50) == 30, "20 of 50 ran"
    assert held_up({}, {}, took=50) == 0


@pytest.mark.skipif(not (TASKS / str(os.getpid()) / "schedstat").exists(), reason="the system does not tell")
def test_beside_a_busy_process_on_the_same_cpu_what_is_left_is_the_work():
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    command = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
    burner = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE)
    threads = Threads()
    try:
        burner.stdout.readline()
        os.sched_setaffinity(0, [cpu])
        threads.refresh()
        before, begin, own = threads.look(), time.perf_counter_ns(), time.thread_time_ns()
        while time.thread_time_ns() - own < 200_000_000:
            pass
        took, worked = time.perf_counter_ns() - begin, time.thread_time_ns() - own
        held = held_up(before, threads.look(), took)
    finally:
        os.sched_setaffinity(0, allowed)
        threads.close()
        burner.kill()
        burner.wait()
    assert held > 20_000_000, "half of the time was the other's"
    assert took - held == pytest.approx(worked, rel=0.2)

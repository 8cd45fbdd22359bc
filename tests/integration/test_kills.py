"""Real processes that are killed, stopped, starved of memory or of disk: what the row says, what is kept, what goes on.

Each story is a sequence of commands on one output folder. The stories run side by side, since most of a command's time
is spent on starting processes; every test looks at what one command of a story left.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import pytest
import yaml
from tests.support.processes import arms_of, little_memory, still_alive

from quantbench.system import cache

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes, /proc"),
]

FIRST, SECOND, THIRD, FOURTH = (f"node_exclusion-{name}" for name in ("none", "gelu", "layernorm", "softmax"))
ORIGINAL, SOME_OPTIMIZED, OPTIMIZED_OF_SECOND, OPTIMIZED_OF_FOURTH = 0, 2, 3, 4
"""Places of arms in the order of their start: pytorch, onnx-float, optimized..., null; FIRST and THIRD share a model."""
ARMS = 6
DEADLINE = 120


def _take_interrupts():
    """Undo what a shell does to commands in the background, which ignore SIGINT and pass that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Seen:
    """What a command left: its exit code, what it said, results by run name, when they were written, arms alive."""

    code: int
    said: str
    results: dict
    written: dict
    alive: list

    @property
    def statuses(self):
        return {name: "failed" if result["failure"] else "done" for name, result in self.results.items()}

    def reason(self, name):
        return self.results[name]["failure"]["reason"]


class Command:
    """A running ``quantbench run`` in a process group of its own."""

    def __init__(self, config, folder, *arguments):
        self.folder = folder
        self.log = config.parent / f"{folder.name}-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quantbench", "run", str(config), "--out", str(folder), *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_take_interrupts,
                env={
                    **os.environ,
                    cache.VARIABLE: f"{folder}-cache",
                },  # stories side by side do not wait for each other
            )
        self.arms = []

    def send(self, number):
        os.killpg(self.process.pid, number)

    def wait_for(self, text):
        self._until(lambda: text in self.log.read_text())

    def wait_for_arms(self, count):
        """Until so many arms were started; they stay in ``arms`` in that order."""

        def found():
            known = {arm.pid for arm in self.arms}
            self.arms += [arm for arm in arms_of(self.process.pid) if arm.pid not in known]
            return len(self.arms) >= count

        self._until(found)

    def wait_for_timing(self):
        """Until slots are measured: an arm that was loaded and has waited since works again.

        Arms are loaded one after another; the last one, of PyTorch, has then begun to read weights.
        """
        self.wait_for_arms(ARMS)
        self._until(lambda: any("safetensors" in part.path for part in self.arms[ARMS - 1].memory_maps()))
        arm = self.arms[SOME_OPTIMIZED]
        before = arm.cpu_times().user
        self._until(lambda: arm.cpu_times().user > before + 0.05)

    def seen(self):
        """Wait for the end."""
        code = self.process.wait(DEADLINE)
        files = list((self.folder / "results").glob("[!.]*.json"))
        results = {path: json.loads(path.read_text()) for path in files}
        return Seen(
            code,
            " ".join(self.log.read_text().split()),
            {result["run"]["name"]: result for result in results.values()},
            {result["run"]["name"]: path.stat().st_mtime_ns for path, result in results.items()},
            still_alive(self.arms),
        )

    def _until(self, condition):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"it never came to that: {self.log.read_text()}")
            time.sleep(0.005)


@contextlib.contextmanager
def small_disk(folder):
    """The folder as a file system of 32 MB, where root may mount one; whether it is one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


def fill(path):
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.fixture(scope="module")
def config(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("kills") / "config.yaml"
    data = {
        "task": "token-classification",
        "model_name_or_path": str(tiny / "model"),
        "dataset": {
            "path": str(tiny / "data" / "conll2003"),
            "calibration_split": "train",
            "data_keys": {"primary": "tokens"},
            "ref_keys": ["ner_tags"],
        },
        "quantization_approach": "static",
        "operators_to_quantize": ["Add", "MatMul"],
        "calibration": {"num_calibration_samples": 10},
        "batch_sizes": [2],
        "input_lengths": [16],
        "time_benchmark_args": {"duration": 0.6, "warmup_runs": 1, "num_threads": 1, "precision": 0.99},
        "benchmarked": {"node_exclusion": [[], ["gelu"], ["layernorm"], ["softmax"]]},
    }
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def story_of_the_command(config, folder):
    """Killed in two stages of the preparation, let alone with one run, killed and interrupted in timing, let alone."""
    seen = []
    for stage in ("Collecting ranges", "Evaluating the float export"):
        command = Command(config, folder)
        command.wait_for(stage)
        command.send(signal.SIGKILL)
        seen.append(command.seen())
    seen.append(Command(config, folder, "--only", FIRST).seen())
    killed = Command(config, folder)
    killed.wait_for_timing()
    killed.send(signal.SIGKILL)
    seen.append(killed.seen())
    interrupted = Command(config, folder)
    interrupted.wait_for_arms(OPTIMIZED_OF_SECOND)
    interrupted.send(signal.SIGINT)
    seen.append(interrupted.seen())
    return [*seen, Command(config, folder).seen()]


def story_of_the_arms(config, folder, mounted):
    """The original's arm is killed; one optimized arm is killed and another starved; the disk is full; let alone."""
    first = Command(config, folder)
    first.wait_for_timing()
    first.arms[ORIGINAL].kill()
    seen = [first.seen()]
    second = Command(config, folder)
    with little_memory(16) as group:
        second.wait_for_arms(OPTIMIZED_OF_FOURTH + 1)
        starved = second.arms[OPTIMIZED_OF_FOURTH]
        if group:
            (group / "cgroup.procs").write_text(str(starved.pid))
        else:
            starved.rlimit(psutil.RLIMIT_AS, (2**20, 2**20))
        second.wait_for_timing()
        second.arms[OPTIMIZED_OF_SECOND].kill()
        seen.append(second.seen())
    full = Command(config, folder)
    full.wait_for("Timing")
    if mounted:
        fill(folder / "ballast")
    else:
        psutil.Process(full.process.pid).rlimit(psutil.RLIMIT_FSIZE, (100, psutil.RLIM_INFINITY))
    seen.append(full.seen())
    (folder / "ballast").unlink(missing_ok=True)
    return [*seen, Command(config, folder).seen()]


@pytest.fixture(scope="module")
def stories(config, tmp_path_factory):
    """What every command of the two stories left."""
    root = tmp_path_factory.mktemp("stories")
    with small_disk(root / "small") as mounted, ThreadPoolExecutor(2) as pool:
        command = pool.submit(story_of_the_command, config, root / "command")
        arms = pool.submit(story_of_the_arms, config, root / "small", mounted)
        yield {"command": command.result(), "arms": arms.result()}


def test_a_kill_during_preparation_leaves_nothing_that_is_taken_for_a_result(stories):
    *killed, last = stories["command"][:3]
    assert [(seen.code, seen.results) for seen in killed] == [(-signal.SIGKILL, {})] * 2
    assert "Collecting ranges" in killed[1].said
    assert "Exporting" not in killed[1].said, "what was finished is not done again"
    assert (last.code, last.statuses) == (0, {FIRST: "done"}), last.said
    assert "Collecting ranges" not in last.said
    assert "Evaluating the original" not in last.said
    assert "Evaluating the float export" in last.said


def test_a_command_killed_while_timing_keeps_what_was_finished_and_leaves_no_process(stories):
    begun, seen = stories["command"][2:4]
    assert seen.code == -signal.SIGKILL
    assert (seen.statuses, seen.written) == (begun.statuses, begun.written)
    assert not seen.alive


def test_an_interrupt_while_timing_ends_everything(stories):
    begun, _, seen = stories["command"][2:5]
    assert seen.code == 130, seen.said
    assert "finished and kept" in seen.said
    assert "Traceback" not in seen.said
    assert (seen.statuses, seen.written) == (begun.statuses, begun.written)
    assert not seen.alive


def test_after_the_command_died_the_next_one_completes_the_rest(stories):
    begun, _, _, seen = stories["command"][2:]
    assert (seen.code, set(seen.statuses.values())) == (0, {"done"}), seen.said
    assert len(seen.results) == 4
    assert seen.written[FIRST] == begun.written[FIRST], "the finished run is not repeated"


def test_a_killed_original_fails_every_row_that_needs_it(stories):
    seen = stories["arms"][0]
    assert seen.code == 3, seen.said
    assert seen.statuses == dict.fromkeys((FIRST, SECOND, THIRD, FOURTH), "failed")
    said = " ".join(seen.said.split())
    for name in seen.results:
        assert seen.reason(name).startswith("arm pytorch ")
        assert "was killed by SIGKILL" in seen.reason(name)
        assert f"{name} failed in timing" in said
        assert f"failed in timing: {seen.reason(name)}" in said
    assert not seen.alive


def test_a_killed_and_a_starved_arm_fail_their_rows_only(stories):
    seen = stories["arms"][1]
    assert seen.code == 3, seen.said
    assert seen.statuses == {FIRST: "done", SECOND: "failed", THIRD: "done", FOURTH: "failed"}
    assert seen.reason(SECOND) == f"arm optimized of {SECOND} was killed by SIGKILL (out of memory?)"
    starved = seen.reason(FOURTH)
    assert starved.startswith(f"arm optimized of {FOURTH}")
    assert "was killed by SIG" in starved or "ended with exit code" in starved
    assert not seen.alive


def test_a_full_disk_stops_the_command_and_keeps_what_was_finished(stories):
    before, seen = stories["arms"][1:3]
    assert seen.code == 2, seen.said
    assert "no space to write it" in seen.said
    assert "Traceback" not in seen.said
    assert (seen.statuses, seen.written) == (before.statuses, before.written)


def test_with_space_again_the_next_command_completes_what_failed(stories):
    _, before, _, after = stories["arms"]
    assert (after.code, set(after.statuses.values())) == (0, {"done"}), after.said
    assert len(after.results) == 4
    assert {name for name in after.written if after.written[name] == before.written[name]} == {FIRST, THIRD}

"""Looking after processes that tests kill."""

import contextlib
import os
import time
from pathlib import Path

import psutil

FORKING = "quantbench.timing.forks"


def arms_of(pid):
    """The arms that were forked for a process, in their order."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if FORKING in child.cmdline():
                found += child.children()
    return sorted(found, key=lambda arm: (arm.create_time(), arm.pid))


def still_alive(processes, seconds=10.0):
    """Those that do not end within some seconds; one that nobody has waited for is over."""
    deadline = time.monotonic() + seconds
    while True:
        left = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(process)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


@contextlib.contextmanager
def little_memory(megabytes):
    """Folder of a control group whose processes the kernel kills beyond a few megabytes; None where root may make none."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"quantbench-test-{os.getpid()}-{time.monotonic_ns()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(megabytes * 2**20))
            if (group / "memory.swap.max").exists():
                (group / "memory.swap.max").write_text("0")
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    group.rmdir()
                    break
                time.sleep(0.05)
        return
    yield None

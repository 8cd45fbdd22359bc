"""Whether this machine is fit for timing: what the system says, how much it varies, and what to change."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from quantbench import embedded, stats
from quantbench.arm import steal_seconds
from quantbench.calm import held_up
from quantbench.environment import usable_cores
from quantbench.progress import Reporter
from quantbench.records import ArmLatency, ArmSpec, Latency
from quantbench.settings import TimeBenchmarkArgs
from quantbench.text import TextProcessor
from quantbench.timing import Shape, time_arms

CPU = Path("/sys/devices/system/cpu")
LOAD_LIMIT = 0.5
STEAL_LIMIT = 0.01
NOISE_LIMIT = 0.02
HELD_UP_LIMIT = 0.05
ARGS = TimeBenchmarkArgs(duration=5, warmup_runs=5)


@dataclass(frozen=True)
class Finding:
    """One property of the machine. ``advice`` is empty where nothing should be changed."""

    what: str
    value: str
    advice: str = ""


def findings(reporter: Reporter) -> list[Finding]:
    """Everything that is looked at, what is measured on the embedded model last."""
    return [check() for check in (governor, turbo, hyper_threads, load, steal, cpu_limit)] + measured(reporter)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def governor() -> Finding:
    """Frequency governor."""
    value = _read(CPU / "cpu0/cpufreq/scaling_governor")
    advice = (
        "set it to performance: cpupower frequency-set -g performance" if value not in (None, "performance") else ""
    )
    return Finding("governor", value or "not told by this system (usual in virtual machines)", advice)


def turbo() -> Finding:
    """Turbo or boost, which makes the first seconds faster than the rest."""
    no_turbo, boost = _read(CPU / "intel_pstate/no_turbo"), _read(CPU / "cpufreq/boost")
    if no_turbo is None and boost is None:
        return Finding("turbo", "not told by this system (usual in virtual machines)")
    on = no_turbo == "0" or boost == "1"
    advice = "turn it off while measuring: write 1 to intel_pstate/no_turbo or 0 to cpufreq/boost" if on else ""
    return Finding("turbo", "on" if on else "off", advice)


def hyper_threads() -> Finding:
    """Simultaneous multithreading: two threads of one core share its units."""
    active = _read(CPU / "smt/active") == "1"
    advice = "time with num_threads at the number of physical cores, or turn it off: write off to smt/control"
    return Finding("hyper-threads", "on" if active else "off or not told", advice if active else "")


def load() -> Finding:
    """Load average of the last minute."""
    value = os.getloadavg()[0]
    return Finding("load", f"{value:.2f}", "stop what else is running" if value > LOAD_LIMIT else "")


def steal() -> Finding:
    """Share of CPU time that the hypervisor took during a second."""
    before = steal_seconds()
    time.sleep(1)
    after = steal_seconds()
    if before is None or after is None:
        return Finding("steal", "not told by this system")
    share = (after - before) / (os.cpu_count() or 1)
    return Finding("steal", f"{100 * share:.1f} %", "use a dedicated instance" if share > STEAL_LIMIT else "")


def cpu_limit() -> Finding:
    """CPU quota of the control group, which stops a process in the middle of a call."""
    value = _read(Path("/sys/fs/cgroup/cpu.max"))
    limited = value is not None and not value.startswith("max")
    advice = (
        f"remove the CPU limit of the container, or give whole cores with --cpuset-cpus; usable now: {usable_cores()}"
    )
    return Finding("cgroup CPU limit", value or "none", advice if limited else "")


def measured(reporter: Reporter) -> list[Finding]:
    """How far the embedded model is from itself, timed in two processes in turn, and how often it is held up."""
    spec = ArmSpec(
        runtime="pytorch",
        path=str(embedded.MODEL),
        sha256="",
        options={"auto_class": "AutoModelForTokenClassification"},
    )
    shape = Shape(4, 64, [TextProcessor(embedded.MODEL).exact_inputs(4, 64, 0)])
    specs = {stats.BASELINE: spec, stats.NULL: spec}
    with reporter.stage("Timing the embedded model against itself, seconds", int(2 * ARGS.duration)) as advance:
        timings = time_arms(specs, stats.BASELINE, [shape], ARGS, usable_cores(), advance)
    if timings.failures:
        return [Finding("noise floor", "not measured", next(iter(timings.failures.values())))]
    arms = timings.shapes[0].arms
    return [_floor(arms), _held_up(arms)]


def _floor(arms: dict[str, ArmLatency]) -> Finding:
    floor = stats.noise_floor(Latency(batch_size=4, input_length=64, arms=arms))
    if floor is None:
        return Finding("noise floor", "not measured", "too few slots")
    advice = "differences below it cannot be told; stop other work, or raise duration and launches"
    return Finding("noise floor", f"{100 * floor:.1f} %", advice if floor > NOISE_LIMIT else "")


def _held_up(arms: dict[str, ArmLatency]) -> Finding:
    held = sum(map(len, held_up(arms, mixed=False).values()))
    slots = sum(len(arm.slots) for arm in arms.values())
    advice = "something else uses these cores from time to time; stop it, or time for longer"
    return Finding("held-up slots", f"{held} of {slots}", advice if held > HELD_UP_LIMIT * slots else "")

"""Whether this machine is fit for timing: what the system says, how much it varies, and what to change."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from quantbench import embedded
from quantbench.analysis import speedups
from quantbench.analysis.interference import held_up
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmLatency, ArmSpec, Latency
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.system import control_groups, priority
from quantbench.system.environment import detect, usable_cpus
from quantbench.system.linux import HERE, Linux
from quantbench.system.processors import CPU, Cpu
from quantbench.tasks._text import TextProcessor
from quantbench.timing.arm import steal_seconds
from quantbench.timing.session import Shape, time_arms

LOAD_LIMIT = 0.5
STEAL_LIMIT = 0.01
NOISE_LIMIT = 0.02
HELD_UP_LIMIT = 0.05
ARGS = TimeBenchmarkArgs(duration=5, warmup_runs=5, launches=1)


@dataclass(frozen=True)
class Finding:
    """One property of the machine. ``advice`` is empty where nothing should be changed."""

    what: str
    value: str
    advice: str = ""


def findings(reporter: Reporter) -> list[Finding]:
    """Everything that is looked at, what is measured on the embedded model last."""
    cpus = usable_cpus()
    told = [governor(HERE), turbo(HERE), hyper_threads(cpus), kinds(cpus), load(), steal(), first()]
    return [*told, cpu_limit(HERE, len(cpus)), memory_limit(HERE), omp_threads(), *measured(reporter)]


def governor(machine: Linux) -> Finding:
    """Frequency governor."""
    value = machine.read(f"{CPU}/cpu0/cpufreq/scaling_governor")
    advice = (
        "set it to performance: cpupower frequency-set -g performance" if value not in (None, "performance") else ""
    )
    return Finding("governor", value or "not told by this system (usual in virtual machines)", advice)


def turbo(machine: Linux) -> Finding:
    """Turbo or boost, which makes the first seconds faster than the rest."""
    no_turbo, boost = machine.read(f"{CPU}/intel_pstate/no_turbo"), machine.read(f"{CPU}/cpufreq/boost")
    if no_turbo is None and boost is None:
        return Finding("turbo", "not told by this system (usual in virtual machines)")
    on = no_turbo == "0" or boost == "1"
    advice = "turn it off while measuring: write 1 to intel_pstate/no_turbo or 0 to cpufreq/boost" if on else ""
    return Finding("turbo", "on" if on else "off", advice)


def hyper_threads(cpus: Sequence[Cpu]) -> Finding:
    """Simultaneous multithreading: threads of one core share its units; arms are given one CPU per core first."""
    cores = len({cpu.core for cpu in cpus})
    if cores == len(cpus):
        return Finding("hyper-threads", f"none: {len(cpus)} usable CPUs on as many cores")
    value = f"{len(cpus)} usable CPUs on {cores} cores; timed with one thread per core unless num_threads is more"
    return Finding("hyper-threads", value)


def kinds(cpus: Sequence[Cpu]) -> Finding:
    """Fast and slow cores: the slowest that has a thread sets the pace of a call."""
    cores = {cpu.core: cpu.speed for cpu in cpus}
    fast = sum(speed == max(cores.values()) for speed in cores.values())
    if fast == len(cores):
        return Finding("kinds of cores", "one")
    advice = f"num_threads: {fast} times on the fast ones alone; pin what you deploy in the same way"
    return Finding("kinds of cores", f"{fast} fast, {len(cores) - fast} slower", advice)


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


def first() -> Finding:
    """Whether timed processes go before others."""
    value = priority.of_timed()
    forbidden = os.environ.get(priority.VARIABLE) == priority.NORMAL
    advice = f"unset {priority.VARIABLE}" if forbidden else "permit a niceness of -20 (limits.conf: nice), or be root"
    return Finding("priority", value, "" if value == priority.HIGH else f"{advice}: other processes then wait")


def cpu_limit(machine: Linux, cpus: int) -> Finding:
    """CPU quota of the control groups, which stops a process in the middle of a call."""
    limit = control_groups.cpu_limit(machine)
    if limit is None:
        return Finding("CPU limit", "none")
    advice = "" if limit.value >= cpus else "remove the container's CPU limit, or give whole cores with --cpuset-cpus"
    return Finding("CPU limit", f"{limit.value:g} CPUs by {limit.where}", advice)


def memory_limit(machine: Linux) -> Finding:
    """Memory that control groups leave."""
    limit = control_groups.memory_limit(machine)
    known = limit is not None and limit.value < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("memory limit", f"{limit.value / 2**30:.1f} GiB by {limit.where}" if limit and known else "none")


def omp_threads() -> Finding:
    """A variable that platforms set; threads are explicit here, so that it changes nothing."""
    value = os.environ.get("OMP_NUM_THREADS")
    advice = "not obeyed here, where threads are explicit; what you deploy may obey it" if value else ""
    return Finding("OMP_NUM_THREADS", value or "not set", advice)


def measured(reporter: Reporter) -> list[Finding]:
    """How far the embedded model is from itself, timed in two processes in turn, and how often it is held up."""
    spec = ArmSpec(
        runtime="pytorch",
        path=str(embedded.MODEL),
        sha256="",
        options={"auto_class": "AutoModelForTokenClassification"},
    )
    shape = Shape(4, 64, [TextProcessor(embedded.MODEL).exact_inputs(4, 64, 0)])
    specs = {speedups.BASELINE: spec, speedups.NULL: spec}
    with reporter.stage("Timing the embedded model against itself, seconds", int(2 * ARGS.duration)) as advance:
        timings = time_arms(specs, speedups.BASELINE, [shape], ARGS, detect().threads, advance)
    if timings.failures:
        return [Finding("noise floor", "not measured", next(iter(timings.failures.values())))]
    arms = timings.shapes[0].arms
    return [_floor(arms), _held_up(arms)]


def _floor(arms: dict[str, ArmLatency]) -> Finding:
    floor = speedups.noise_floor(Latency(batch_size=4, input_length=64, arms=arms))
    if floor is None:
        return Finding("noise floor", "not measured", "too few slots")
    advice = "differences below it cannot be told; stop other work, or raise duration and launches"
    return Finding("noise floor", f"{100 * floor:.1f} %", advice if floor > NOISE_LIMIT else "")


def _held_up(arms: dict[str, ArmLatency]) -> Finding:
    held = sum(map(len, held_up(arms, mixed=False).values()))
    slots = sum(len(arm.slots) for arm in arms.values())
    advice = "something else uses these cores from time to time; stop it, or time for longer"
    return Finding("held-up slots", f"{held} of {slots}", advice if held > HELD_UP_LIMIT * slots else "")

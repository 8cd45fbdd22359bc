"""Does the timing call what is there, and nothing else? Null, power and rest of the waiting processes.

Null: the float export of the embedded model against itself, 40 comparisons of 5 s per arm. Power: the same against
itself with real extra work of 1, 2 and 3 %, ten times 15 s per arm. Both again while another process loads one core on
and off. Every verdict is made as on a card: interval, test, and the noise floor, which is the larger of the null arm's
in the same session and of what the machine's cache would hold, measured once at the beginning.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psutil

from bench.arms import float_arm, load_on_and_off, slowed
from quantbench.analysis import speedups
from quantbench.analysis.intervals import Interval, verdict
from quantbench.reports._markdown import table
from quantbench.schema.results import ArmSpec, Latency, Noise
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.system import environment
from quantbench.system.progress import Silent
from quantbench.timing import self_comparison
from quantbench.timing.process import ArmProcess
from quantbench.timing.session import Shape, time_arms

NULL_SESSIONS, NULL_ARMS, NULL_SECONDS = 10, 4, 5.0
POWER_SESSIONS, POWER_SECONDS = 10, 15.0
SHARES = (0.03, 0.02, 0.01)
REST_SECONDS = 5.0


def report() -> str:
    """Markdown: verdicts and half-widths, idle and under load, and the processor time of those who wait."""
    with tempfile.TemporaryDirectory() as cache:
        original, plain, shape = float_arm(Path(cache))
        parts = [_rest(original, plain, shape)]
        (itself,) = self_comparison.measure(
            plain, [shape], _args(POWER_SECONDS, 0), environment.usable_cores(), Silent()
        )
        if itself is None:
            raise RuntimeError("the float export could not be timed against itself")
        floor = _percent(speedups.launch_noise(itself.ratios, 1))
        parts.append(f"The float export differs from itself by up to {floor} between {len(itself.ratios)} launches.")
        for loaded in (False, True):
            for experiment in (_null, _power):
                with load_on_and_off(loaded):
                    parts.append(experiment(plain, shape, itself, loaded))
                print(parts[-1], flush=True)
    return "## Timing\n\n" + "\n\n".join(parts)


def _args(seconds: float, seed: int) -> TimeBenchmarkArgs:
    return TimeBenchmarkArgs(duration=seconds, warmup_runs=5, seed=seed, precision=0.9)


def _session(specs: dict[str, ArmSpec], shape: Shape, seconds: float, seed: int, itself: Noise) -> Latency:
    """One interleaved session of arms against ``base``, which also stands in as the null arm."""
    arms = {
        speedups.BASELINE: specs["base"],
        speedups.NULL: specs["base"],
        **{n: s for n, s in specs.items() if n != "base"},
    }
    timings = time_arms(
        arms, speedups.BASELINE, [shape], _args(seconds, seed), environment.usable_cores(), lambda _: None
    )
    if timings.failures:
        raise RuntimeError(str(timings.failures))
    return Latency(batch_size=4, input_length=64, arms=timings.shapes[0].arms, noise=itself)


def _judge(latency: Latency, name: str) -> tuple[str, Interval]:
    """The verdict and the logarithm of the speedup."""
    found = speedups.log_ratio(latency, name, speedups.BASELINE)
    if found is None:
        raise RuntimeError("the machine was too slow for enough rounds")
    word = verdict(found.interval.exp(), found.p_value, speedups.noise_floor(latency) or 0.0)
    return word, found.interval


def _null(plain: ArmSpec, shape: Shape, itself: Noise, loaded: bool) -> str:
    false, widths, floors = 0, [], []
    for session in range(NULL_SESSIONS):
        names = [f"copy {number}" for number in range(NULL_ARMS)]
        latency = _session({"base": plain, **dict.fromkeys(names, plain)}, shape, NULL_SECONDS, session, itself)
        floors.append(speedups.noise_floor(latency) or 0.0)
        for name in names:
            word, centre = _judge(latency, name)
            false += word != "inconclusive"
            widths.append(centre.half_width)
    return (
        f"Null experiment, {_when(loaded)}: {false} false verdicts in {NULL_SESSIONS * NULL_ARMS} comparisons of "
        f"{NULL_SECONDS:g} s per arm; half-width of the interval {_percent(statistics.median(widths))} (median), "
        f"{_percent(max(widths))} (largest); noise floor {_percent(statistics.median(floors))} (median)."
    )


def _power(plain: ArmSpec, shape: Shape, itself: Noise, loaded: bool) -> str:
    specs = {"base": plain, **{f"{share:.0%}": spec for share, spec in slowed(plain, shape, SHARES).items()}}
    called = dict.fromkeys(specs, 0)
    found: dict[str, list[Interval]] = {name: [] for name in specs}
    for session in range(POWER_SESSIONS):
        latency = _session(specs, shape, POWER_SECONDS, session, itself)
        for name in specs:
            if name != "base":
                word, centre = _judge(latency, name)
                called[name] += word == "slower"
                found[name].append(centre)
    rows = [
        [
            name,
            f"{called[name]} of {POWER_SESSIONS}",
            _percent(-statistics.median(c.value for c in found[name])),
            _percent(statistics.median(c.half_width for c in found[name])),
        ]
        for name in specs
        if name != "base"
    ]
    header = ["planted", "called slower", "slowdown measured (median)", "half-width (median)"]
    return f"Power experiment, {_when(loaded)}, {POWER_SECONDS:g} s per arm:\n\n" + table(header, rows)


def _rest(original: ArmSpec, plain: ArmSpec, shape: Shape) -> str:
    """Processor time that the parent and the waiting arms use while one arm is timed."""
    threads = environment.usable_cores()
    arms = {"pytorch": ArmProcess("pytorch", original, threads), "onnx-float": ArmProcess("onnx-float", plain, threads)}
    try:
        for arm in arms.values():
            arm.load()
            arm.ask("shape", [dict(batch) for batch in shape.batches])
            arm.ask("slot", 1.0, 3)
        rows = [[name, _percent(_others_share(name, arms))] for name in arms]
    finally:
        for arm in arms.values():
            arm.close()
    return "Processor time of the parent and the waiting arm, as a share of one core:\n\n" + table(
        ["timed arm", "the others together"], rows
    )


def _others_share(name: str, arms: dict[str, ArmProcess]) -> float:
    others = [psutil.Process(), *(psutil.Process(arm.process.pid) for other, arm in arms.items() if other != name)]
    before, begin = sum(_cpu_seconds(process) for process in others), time.monotonic()
    arms[name].ask("slot", REST_SECONDS, 3)
    return (sum(_cpu_seconds(process) for process in others) - before) / (time.monotonic() - begin)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _when(loaded: bool) -> str:
    return "one core loaded on and off" if loaded else "no other load"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"

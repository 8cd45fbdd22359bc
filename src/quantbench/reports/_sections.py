"""The tables of the card beyond the reference: how sure each number is, and what was really made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantbench.analysis import speedups
from quantbench.analysis.losses import differences
from quantbench.analysis.machines import by_machine
from quantbench.analysis.speedups import shape_name
from quantbench.analysis.undisturbed import undisturbed_ms
from quantbench.plugins import registry
from quantbench.reports._markdown import counts, spread, table
from quantbench.schema.results import Artifact, Latency, Noise, Result, Run
from quantbench.schema.settings import Config
from quantbench.sources.cells import NO_LABELS

CHECKPOINTS = "pytorch"
"""The runtime of originals that are checkpoints."""
ARMS = (CHECKPOINTS, "onnx-float", "optimized")


def run_header(config: Config) -> list[str]:
    """Header of the columns that tell runs apart."""
    return [dimension.key for dimension in config.dimensions] or ["quantization_approach"]


def run_cells(result: Result) -> list[str]:
    """A run's cells in the columns of :func:`run_header`."""
    if not result.run.benchmarked:
        return [f"`{result.run.settings.quantization_approach}`"]
    return [f"`{value!r}`" for value in result.run.benchmarked.values()]


def original_name(done: Sequence[Result]) -> str:
    """What the arm of the original is called: ``pytorch``, or by what runs a file that was given."""
    runtimes = sorted({result.original for result in done})
    if runtimes in ([], [CHECKPOINTS]):
        return CHECKPOINTS
    return f"the original ({' or '.join(registry.runtime(name).SUMMARY.partition(',')[0] for name in runtimes)})"


def speed_table(config: Config, done: Sequence[Result]) -> str:
    """Speedups with intervals and verdicts, beside the noise floor that they must exceed."""
    header = [
        *run_header(config),
        "shape",
        f"optimized over {original_name(done)}",
        "optimized over onnx-float",
        f"onnx-float over {original_name(done)}",
    ]
    header += ["noise floor", "slots", "launches"]
    judged = speedups.speedups(done)
    rows = []
    for result in done:
        for index, latency in enumerate(result.latency):
            cells = [_speedup_cell(speedup) for speedup in judged[result.run.key, index]]
            floor = speedups.noise_floor(latency)
            slots = [len(latency.arms[arm].slots) for arm in ARMS]
            launches = len(latency.arms["optimized"].load_seconds)
            noise = "unknown" if floor is None else f"{100 * floor:.1f} %"
            rows.append([*run_cells(result), shape_name(latency), *cells, noise, str(min(slots)), str(launches)])
    return table(header, rows)


def noise_age(done: Sequence[Result]) -> str:
    """When the float export was timed against itself, in how many starts, and whose it was; empty where it was not."""
    every = [(result, latency.noise) for result in done for latency in result.latency]
    seen = [(result, noise) for result, noise in every if noise is not None and noise.ratios]
    if not seen:
        return ""
    times = sorted({noise.measured_at for _, noise in seen})
    when = times[0] if len(times) == 1 else f"between {times[0]} and {times[-1]}"
    launches = min(len(noise.ratios) for _, noise in seen)
    text = f"The float export was timed against itself in {launches} starts, {when}."
    sharing: dict[Noise, dict[str, Result]] = {}
    for result, noise in seen:
        sharing.setdefault(noise.model_copy(update={"session_ms": None}), {}).setdefault(_float_file(result), result)
    shared = [list(results.values()) for results in sharing.values() if len(results) > 1]
    whose = list(dict.fromkeys(_float_file(results[0]) for results in shared))
    if whose:
        text += (
            f" It was that of {' and '.join(whose)}; what launches of it differ by stands for the other exports in the "
            "noise floor too, which were not timed against themselves."
        )
    return text


def _float_file(result: Result) -> str:
    """Which float export a run is compared with: what runs it, and its opset."""
    settings = result.run.settings
    return f"{registry.float_runtime(settings.framework)}, opset {settings.framework_args.opset}"


def busy_machine(done: Sequence[Result]) -> str:
    """At which shapes the machine was slower throughout than it has been seen, and by how much; empty if at none."""
    slowest: dict[str, float] = {}
    for latency in (latency for result in done for latency in result.latency):
        speed = speedups.machine_speed(latency)
        if speed is not None and speed < speedups.SAME_SPEED:
            name = shape_name(latency)
            slowest[name] = min(speed, slowest.get(name, 1.0))
    if not slowest:
        return ""
    where = ", ".join(f"{100 * speed:.0f} % at {name}" for name, speed in slowest.items())
    return (
        "The machine was slower throughout than it has been seen before, as when a neighbour uses the same cores: the "
        f"float export reached {where} of its speed. The speedups are those of a machine in this state; repeat the "
        "benchmark at another time for those of the undisturbed one."
    )


def _speedup_cell(speedup: speedups.Speedup) -> str:
    if speedup.interval is None:
        return "too few slots"
    return f"{spread(speedup.interval, 3)} {speedup.verdict}{', unstable' if speedup.unstable else ''}"


def loss_table(config: Config, done: Sequence[Result]) -> str:
    """Differences of metrics with intervals, against the limits of MLPerf Inference, and changed predictions."""
    header = [
        *run_header(config),
        "metric",
        "optimized − original",
        "keeps 99 %",
        "keeps 99.9 %",
        "predictions changed",
    ]
    scored = [result for result in done if result.scores]
    unlike = len({_scored_batch_size(result) for result in scored}) > 1
    header += ["scored in batches of"] if unlike else []
    rows = []
    for result in scored:
        scores = result.scores["optimized"]
        batches = [str(scores.batch_size or "any size")] if unlike else []
        for name, difference in differences(result).items():
            kept = speedups.retention(result, name, difference)
            changed = f"{100 * scores.changed / scores.examples:.1f} %"
            rows.append([*run_cells(result), name, spread(difference, 4, "+"), *kept.values(), changed, *batches])
    return table(header, rows)


def scored_in(done: Sequence[Result]) -> str:
    """In what batches models were scored whose answers depend on their batch; empty where there is none."""
    sizes = {size for result in done if (size := _scored_batch_size(result)) is not None}
    if not sizes:
        return ""
    whose = "The runs with" if len({_scored_batch_size(result) for result in done}) > 1 else "These models have"
    words = " and ".join("one at a time" if size == 1 else f"in batches of {size}" for size in sorted(sizes))
    return (
        f"{whose} int8 whose ranges are found at run time over a whole batch, padding included, so that answers depend "
        f"on what else is in the batch: optimized was scored {words}, examples in the order of the data. Scores in "
        "other batches may differ."
    )


def _scored_batch_size(result: Result) -> int | None:
    return result.scores["optimized"].batch_size if result.scores else None


def latency_table(config: Config, done: Sequence[Result]) -> str:
    """Every arm at every shape: percentiles, throughput, what stands apart from the samples, steadiness."""
    header = [
        *run_header(config),
        "shape",
        "arm",
        "mean, ms",
        "undisturbed, ms",
        "p50, ms",
        "p90, ms",
        "p99, ms",
        "calls",
        "samples/s",
    ]
    header += ["load, s", "first call, ms", "peak memory, MB", "last third / first third"]
    rows = []
    for result in done:
        for latency in result.latency:
            for name in ARMS:
                told = original_name([result]) if name == ARMS[0] else name
                rows.append([*run_cells(result), shape_name(latency), told, *_latency_cells(latency, name)])
    return table(header, rows)


def _latency_cells(latency: Latency, name: str) -> list[str]:
    arm = latency.arms[name]
    percentiles = [speedups.percentile_ms(arm, percent) for percent in (50, 90, 99)]
    return [
        f"{speedups.mean_ms(arm):.2f}",
        f"{undisturbed_ms(arm, latency.mixed):.2f}",
        *("–" if value is None else f"{value:.2f}" for value in percentiles),
        str(len(speedups.samples_ms(arm))),
        f"{speedups.calls_per_second(arm) * latency.batch_size:.1f}",
        f"{arm.load_seconds[0]:.2f}",
        f"{1000 * arm.first_call_seconds[0]:.1f}",
        f"{max(arm.peak_memory_bytes) / 1e6:.0f}" if arm.peak_memory_bytes else "–",
        f"{speedups.drift(arm):.3f}",
    ]


def made_table(config: Config, done: Sequence[Result]) -> str:
    """What each optimized model really is."""
    header = [*run_header(config), "size, MB", "float size, MB", "operators quantized", "nodes excluded"]
    header += ["types (activations, weights)", "int8 operators executed", "computes the same as"]
    same = speedups.twins(done)
    rows = []
    for result in done:
        artifact = result.artifact
        assert artifact is not None, "a finished run has an artifact"
        rows.append(
            [
                *run_cells(result),
                f"{artifact.bytes / 1e6:.1f}",
                f"{float(str(result.float_artifact['bytes'])) / 1e6:.1f}",
                counts(artifact.operators),
                counts({group: len(nodes) for group, nodes in artifact.excluded.items()}),
                _types(artifact),
                counts(_integer_operators(result)),
                same.get(result.run.key, "–"),
            ]
        )
    return table(header, rows)


def _types(artifact: Artifact) -> str:
    """Number types of activations and weights, and of everything else where that is not float32."""
    kinds = [str(artifact.recipe[name]) for name in ("activation_type", "weight_type")]
    precision = str(artifact.recipe.get("precision", "float32"))
    return ", ".join(kinds) + (f", else {precision}" if precision not in ("float32", *kinds) else "")


def job_table(config: Config, results: Sequence[Result]) -> str:
    """Where each run ran, as its launcher tells; empty where all ran on one machine that needs no words."""
    machines = {id(result): number for number, group in enumerate(by_machine(results), 1) for result in group}
    facts = list(dict.fromkeys(name for result in results for name in result.job))
    if not facts and len(set(machines.values())) < 2:
        return ""
    rows = []
    for result in results:
        where = [result.run.settings.backend.name, str(machines[id(result)]), result.environment.host or "–"]
        rows.append([*run_cells(result), *where, *(str(result.job.get(name, "–")) for name in facts)])
    return table([*run_header(config), "backend", "machine", "host", *facts], rows)


def unlabelled(done: Sequence[Result]) -> str:
    """That scores are no scores of labels, where there are none."""
    there = any(NO_LABELS in result.notes for result in done)
    return f"{NO_LABELS[0].upper()}{NO_LABELS[1:]}." if there else ""


def notes(done: Sequence[Result]) -> list[str]:
    """What a reader must know before acting on the numbers."""
    found = sorted({note for result in done for note in result.notes})
    for result in done:
        artifact = result.artifact
        if artifact and (training := artifact.recipe.get("training")):
            found.append(_trained(result.run, training))
        if artifact and artifact.operators and not _integer_operators(result):
            settings = result.run.settings
            why = registry.runtime(settings.framework).why_float(settings)
            found.append(f"{result.run.name}: nothing was computed in int8. {why}")
    makers = [
        registry.quantizer_for(result.run.settings.framework, result.run.settings.quantization_approach)
        for result in done
    ]
    return found + list(dict.fromkeys(maker.NOTE for maker in makers if maker and maker.NOTE))


def _trained(run: Run, training: Any) -> str:
    """What a training came to, in a sentence."""
    missed = f"what outputs miss went from {training['before']:.2g} to {training['after']:.2g}"
    minutes = run.settings.aware_training_args.minutes
    return f"{run.name}: trained for {minutes:g} min ({training['steps']} steps); on examples kept apart {missed}"


def _integer_operators(result: Result) -> dict[str, int]:
    """How many of each operator that was executed on integers."""
    executed = result.artifact.executed if result.artifact else {}
    is_integer = registry.runtime(result.run.settings.framework).is_integer
    return {name: count for name, count in executed.items() if is_integer(name)}

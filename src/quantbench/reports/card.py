"""The benchmark card, ``card.md``: the reference card's parts in its order and wording, then what it never had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment as Templates
from jinja2 import StrictUndefined

from quantbench import registry, stats
from quantbench.grid import lookup
from quantbench.records import Config, Latency, Result, Settings, Skipped

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

SUMMARY = "the benchmark card (card.md)"
FILE = "card.md"
SEPARATOR = ""
BAR = "\\|"
FRONT_MATTER = ("pipeline_tag", "datasets", "metrics", "tags")
ORIGINAL_KEYS = ("model_name_or_path", "dataset", "max_eval_samples")
"""Parameters that the original's scores depend on."""
REFERENCE_KEYS = (
    "model_name_or_path",
    "dataset",
    "quantization_approach",
    "operators_to_quantize",
    "node_exclusion",
    "per_channel",
    "calibration",
    "framework",
    "framework_args",
    "aware_training",
)
"""Parameters of the reference card's block, in its order; others follow where they are not at their defaults."""
HEADER_KEYS = ("task", "backend", "max_eval_samples", "metrics", "batch_sizes", "input_lengths", "time_benchmark_args")
"""Parameters that the card says elsewhere."""
DATASET_KEYS = (
    "path",
    "name",
    "revision",
    "eval_split",
    "data_keys",
    "ref_keys",
    "calibration_split",
    "label_names",
    "label_map",
)
ALWAYS = (
    "dataset.path",
    "dataset.eval_split",
    "dataset.data_keys",
    "dataset.ref_keys",
    "calibration.method",
    "calibration.num_calibration_samples",
    "calibration.padding",
    "calibration.sampling",
    "framework_args.opset",
    "framework_args.optimization_level",
)


def render(config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """The whole card as Markdown."""
    template = files("quantbench.reports").joinpath("card.md.jinja").read_text(encoding="utf-8")
    templates = Templates(  # noqa: S701 - Markdown, nothing to escape for HTML
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    done = [result for result in results if result.done]
    settings = config.base
    return templates.from_string(template).render(
        front_matter=_front_matter(config, done),
        settings=settings,
        samples="All dataset" if settings.max_eval_samples is None else settings.max_eval_samples,
        fixed=_fixed(config),
        benchmarked=[(d.key, ",  ".join(f"`{value!r}`" for value in d.values)) for d in config.dimensions],
        quality=_quality(config, done),
        shapes=_shapes(config, done),
        apart=_apart(config, done),
        made=_made(config, done),
        notes=_notes(done),
        failed=[result for result in results if not result.done],
        skipped=skipped,
        environment=done[0].environment if done else (results[0].environment if results else None),
        seconds=_seconds(results),
        label=lambda values: ", ".join(f"{key}=`{value!r}`" for key, value in values.items()) or "this run",
    )


def _front_matter(config: Config, done: Sequence[Result]) -> str:
    """The reference's keys in its order, then ``model-index`` (Hugging Face hub, model card metadata)."""
    from huggingface_hub import ModelCardData

    task = registry.task(config.base.task)
    metrics = list(done[0].scores["original"].metrics) if done else []
    evaluations = _evaluations(done, task.PIPELINE_TAG)
    name = config.base.model_name_or_path.rstrip("/").rpartition("/")[2]
    data = ModelCardData(
        pipeline_tag=task.PIPELINE_TAG,
        datasets=[config.base.dataset.path],
        metrics=metrics or None,
        tags=[*sorted({result.model_type for result in done if result.model_type}), "quantbench"],
        model_name=name if evaluations else None,
        eval_results=evaluations or None,
    )
    fields = yaml.safe_load(str(data.to_yaml()))
    ordered = {key: fields.pop(key) for key in FRONT_MATTER if key in fields}
    return yaml.safe_dump({**ordered, **fields}, sort_keys=False, allow_unicode=True).rstrip()


def _evaluations(done: Sequence[Result], task_type: str) -> list[EvalResult]:
    """One entry per metric of every original and every optimized model; equal originals are told once."""
    from huggingface_hub import EvalResult

    found: dict[str, EvalResult] = {}
    for result in done:
        dataset = result.run.settings.dataset
        for arm in ("original", "optimized"):
            told = {
                k: v for k, v in result.run.benchmarked.items() if arm == "optimized" or k.startswith(ORIGINAL_KEYS)
            }
            label = ", ".join([arm, *(f"{key}={value}" for key, value in told.items())])
            for metric, value in result.scores[arm].metrics.items():
                found.setdefault(
                    f"{metric} ({label})",
                    EvalResult(
                        task_type=task_type,
                        dataset_type=dataset.path,
                        dataset_name=dataset.name or dataset.path,
                        dataset_split=dataset.eval_split,
                        metric_type=metric,
                        metric_value=round(value, 6),
                        metric_name=f"{metric} ({label})",
                    ),
                )
    return list(found.values())


def _fixed(config: Config) -> list[tuple[str, str | None, list[tuple[str, str]]]]:
    """Rows of the block "Fixed parameters": (key, value, inner rows); benchmarked keys are left out."""
    varied = {dimension.key for dimension in config.dimensions}
    data = config.base.model_dump(mode="python")
    plain = Settings(task="-", model_name_or_path="-", dataset={"path": "-"}).model_dump(mode="python")  # type: ignore[arg-type]
    others = [key for key in data if key not in REFERENCE_KEYS + HEADER_KEYS and data[key] != plain[key]]
    rows: list[tuple[str, str | None, list[tuple[str, str]]]] = []
    for key in (*REFERENCE_KEYS, *others):
        if key in varied or (
            key == "calibration"
            and config.base.quantization_approach == "dynamic"
            and "quantization_approach" not in varied
        ):
            continue
        value = data[key]
        if key == "dataset" or (isinstance(value, dict) and isinstance(plain[key], dict)):
            names = DATASET_KEYS if key == "dataset" else tuple(value)
            inner = [
                (n, _show(value[n]))
                for n in names
                if f"{key}.{n}" not in varied and _worth(f"{key}.{n}", value[n], plain)
            ]
            rows.append((key, None, inner))
        else:
            rows.append((key, _show(value), []))
    return rows


def _worth(key: str, value: Any, plain: Mapping[str, Any]) -> bool:
    return key in ALWAYS or value != lookup(plain, key)


def _show(value: Any) -> str:
    return repr(list(value)) if isinstance(value, tuple) else str(value)


def _quality(config: Config, done: Sequence[Result]) -> str:
    metrics = list(done[0].scores["original"].metrics) if done else []
    header = _keys(config)
    for metric in metrics:
        header += [SEPARATOR, f"{metric} (original)", f"{metric} (optimized)"]
    rows = []
    for result in done:
        row = _values(config, result)
        for metric in metrics:
            row += [BAR, *(f"{result.scores[arm].metrics[metric]:.3f}" for arm in ("original", "optimized"))]
        rows.append(row)
    return table(header, rows)


def _shapes(config: Config, done: Sequence[Result]) -> list[tuple[int, int, str]]:
    """(batch size, input length, time table) per shape, as on the reference card."""
    header = [
        *_keys(config),
        SEPARATOR,
        "latency_mean (original, ms)",
        "latency_mean (optimized, ms)",
        SEPARATOR,
        "throughput (original, /s)",
        "throughput (optimized, /s)",
    ]
    shapes: dict[tuple[int, int], list[list[str]]] = {}
    for result in done:
        for latency in result.latency:
            arms = [latency.arms[name] for name in ("pytorch", "optimized")]
            row = [*_values(config, result), BAR, *(f"{stats.mean_ms(arm):.2f}" for arm in arms)]
            row += [BAR, *(f"{stats.calls_per_second(arm):.2f}" for arm in arms)]
            shapes.setdefault((latency.batch_size, latency.input_length), []).append(row)
    return [(batch, length, table(header, rows)) for (batch, length), rows in shapes.items()]


def _apart(config: Config, done: Sequence[Result]) -> str:
    """What the runtime gives and what quantization gives, with the float export between the two."""
    metrics = list(done[0].scores["original"].metrics) if done else []
    header = [
        *_keys(config),
        "shape",
        "pytorch, ms",
        "onnx-float, ms",
        "optimized, ms",
        "pytorch / onnx-float",
        "onnx-float / optimized",
        "pytorch / optimized",
        *(f"{metric} (onnx-float)" for metric in metrics),
    ]
    return table(
        header,
        [[*_values(config, result), *_apart_row(latency, result)] for result in done for latency in result.latency],
    )


def _apart_row(latency: Latency, result: Result) -> list[str]:
    ratios = (("onnx-float", "pytorch"), ("optimized", "onnx-float"), ("optimized", "pytorch"))
    return [
        f"{latency.batch_size} × {latency.input_length}",
        *(f"{stats.mean_ms(latency.arms[name]):.2f}" for name in ("pytorch", "onnx-float", "optimized")),
        *(f"{stats.speedup(latency, arm, against):.2f}" for arm, against in ratios),
        *(f"{value:.3f}" for value in result.scores["onnx-float"].metrics.values()),
    ]


def _made(config: Config, done: Sequence[Result]) -> str:
    header = [
        *_keys(config),
        "size, MB",
        "float size, MB",
        "operators quantized",
        "nodes excluded",
        "types (activations, weights)",
        "int8 operators executed",
        "computes the same as",
    ]
    twins = stats.twins(done)
    rows = []
    for result in done:
        artifact = result.artifact
        assert artifact is not None, "a finished run has an artifact"
        rows.append(
            [
                *_values(config, result),
                f"{artifact.bytes / 1e6:.1f}",
                f"{float(str(result.float_artifact['bytes'])) / 1e6:.1f}",
                _counts(artifact.operators),
                _counts({group: len(nodes) for group, nodes in artifact.excluded.items()}),
                f"{artifact.recipe['activation_type']}, {artifact.recipe['weight_type']}",
                _counts({name: n for name, n in artifact.executed.items() if is_integer(name)}),
                twins.get(result.run.key, "–"),
            ]
        )
    return table(header, rows)


def _notes(done: Sequence[Result]) -> list[str]:
    """What a reader must know before acting on the numbers."""
    notes = sorted({note for result in done for note in result.notes})
    for result in done:
        artifact = result.artifact
        if artifact and artifact.operators and not any(map(is_integer, artifact.executed)):
            level = result.run.settings.framework_args.optimization_level
            notes.append(
                f"{result.run.name}: nothing was computed in int8. At optimization level {level} ONNX Runtime runs the "
                "quantized graph in float, rounding in between; set framework_args.optimization_level to 2 or 99"
            )
    return notes


def is_integer(operator: str) -> bool:
    """Whether an executed operator of ONNX Runtime computes on integers."""
    return (
        operator.startswith(("QLinear", "QGemm", "QAttention", "DynamicQuantizeM", "DynamicQuantizeLSTM"))
        or "Integer" in operator
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _seconds(results: Sequence[Result]) -> list[tuple[str, float]]:
    phases = ("export", "calibration", "quantization", "evaluation", "timing")
    return [(phase, sum(result.seconds.get(phase, 0.0) for result in results)) for phase in phases]


def _keys(config: Config) -> list[str]:
    return [dimension.key for dimension in config.dimensions] or ["quantization_approach"]


def _values(config: Config, result: Result) -> list[str]:
    if not result.run.benchmarked:
        return [f"`{result.run.settings.quantization_approach}`"]
    return [f"`{value!r}`" for value in result.run.benchmarked.values()]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with centred, padded columns, as on the reference card."""
    if not rows:
        return "No run was finished."
    widths = [max(3, *(_width(row[i]) for row in (header, *rows))) for i in range(len(header))]
    lines = [" | ".join(map(_centred, row, widths)) for row in (header, *rows)]
    lines.insert(1, " | ".join(":" + "-" * (width - 2) + ":" for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def _width(cell: str) -> int:
    """Characters of a cell as it is rendered: an escaped bar is one."""
    return len(cell.replace(BAR, "|"))


def _centred(cell: str, width: int) -> str:
    left = (width - _width(cell)) // 2
    return " " * left + cell + " " * (width - _width(cell) - left)

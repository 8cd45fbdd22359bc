"""The benchmark card, ``card.md``: the reference card's parts in its order and wording, then what it never had."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment as Templates
from jinja2 import StrictUndefined

from quantbench.analysis import speedups
from quantbench.analysis.machines import by_machine
from quantbench.config.keys import has, lookup
from quantbench.plugins import registry
from quantbench.plugins.options import PLACES, always_shown, defaults
from quantbench.reports import _sections
from quantbench.reports._markdown import BAR, table
from quantbench.schema.results import Result, Skipped
from quantbench.schema.settings import Config, InputLength, Settings

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

SUMMARY = "the benchmark card (card.md)"
FILE = "card.md"
SEPARATOR = ""
FRONT_MATTER = ("pipeline_tag", "datasets", "metrics", "tags")
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""That of libyaml where there is one: a grid has thousands of lines."""
LONGER = 1.5
"""Share of the duration that was asked for, from which the card says how long it really took."""
CALIBRATED = {"static", "mixed"}
"""Approaches that may look at calibration samples."""
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
)
"""Parameters that are shown even at their defaults; options of plug-ins are where these say so."""


def render(config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """The whole card as Markdown."""
    template = files("quantbench.reports").joinpath("card.md.jinja").read_text(encoding="utf-8")
    templates = Templates(  # noqa: S701 - Markdown, nothing to escape for HTML
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    settings = config.base
    groups = by_machine(result for result in results if result.done) or [[]]
    return templates.from_string(template).render(
        front_matter=_front_matter(config, [result for group in groups for result in group]),
        settings=settings,
        samples="All dataset" if settings.max_eval_samples is None else settings.max_eval_samples,
        fixed=_fixed(config),
        benchmarked=[(d.key, ",  ".join(f"`{value!r}`" for value in d.values)) for d in config.dimensions],
        machines=[
            _machine(config, group, f", machine {number}" if len(groups) > 1 else "")
            for number, group in enumerate(groups, start=1)
        ],
        executed_in=_executed_in(config),
        original_is=_original_is(results),
        failed=[result for result in results if not result.done],
        skipped=skipped,
        environments=[group[0].environment for group in groups if group] or [r.environment for r in results[:1]],
        jobs=_sections.job_table(config, results),
        seconds=_seconds(results),
        label=lambda values: ", ".join(f"{key}=`{value!r}`" for key, value in values.items()) or "this run",
    )


def _machine(config: Config, done: Sequence[Result], title: str) -> dict[str, Any]:
    """The tables of the runs that were measured on alike machines, which alone are compared with each other."""
    return {
        "title": title,
        "quality": _quality(config, done),
        "unlabelled": _sections.unlabelled(done),
        "shapes": _shapes(config, done),
        "longest": _longest(config, done),
        "speed": _sections.speed_table(config, done),
        "noise": _sections.noise_age(done),
        "busy": _sections.busy_machine(done),
        "loss": _sections.loss_table(config, done),
        "scored_in": _sections.scored_in(done),
        "latency": _sections.latency_table(config, done),
        "float_scores": _float_scores(done),
        "made": _sections.made_table(config, done),
        "notes": _sections.notes(done),
    }


def _original_is(results: Sequence[Result]) -> str:
    """What the original is, and what onnx-float is of it."""
    runtimes = {result.original for result in results if result.done} or {_sections.CHECKPOINTS}
    told = {"PyTorch float32": "its export"} if _sections.CHECKPOINTS in runtimes else {}
    for name in sorted(runtimes - {_sections.CHECKPOINTS}):
        told[f"{registry.runtime(name).SUMMARY.partition(',')[0]} on a file as it was given"] = "the copy of it"
    return f"{' or '.join(told)}, onnx-float is {' or '.join(told.values())}"


def _longest(config: Config, done: Sequence[Result]) -> str:
    """How long an arm was really timed at a shape, where that is much more than was asked for."""
    arms = [arm for result in done for latency in result.latency for arm in latency.arms.values()]
    most = max((math.fsum(speedups.samples_ms(arm)) / 1000 for arm in arms), default=0.0)
    if most <= LONGER * config.base.time_benchmark_args.duration:
        return ""
    return f", and up to {most:.0f} seconds where calls were slow or an interval stayed wide"


def _front_matter(config: Config, done: Sequence[Result]) -> str:
    """The reference's keys in its order, then ``model-index`` (Hugging Face hub, model card metadata)."""
    from huggingface_hub import ModelCardData

    task = registry.task(config.base.task)
    metrics = list(_scored_metrics(done))
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
    fields = data.to_dict()
    ordered = {key: fields.pop(key) for key in FRONT_MATTER if key in fields}
    return yaml.dump({**ordered, **fields}, Dumper=DUMPER, sort_keys=False, allow_unicode=True).rstrip()


def _scored_metrics(done: Sequence[Result]) -> dict[str, float]:
    """The original's metrics in the first run that was evaluated; nothing where none was."""
    return next((result.scores["original"].metrics for result in done if result.scores), {})


def _evaluations(done: Sequence[Result], task_type: str) -> list[EvalResult]:
    """One entry per metric of every original and every optimized model; equal originals are told once."""
    from huggingface_hub import EvalResult

    found: dict[str, EvalResult] = {}
    for result in done:
        dataset = result.run.settings.dataset
        for arm in ("original", "optimized") if result.scores else ():
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
    plain = _plain(config)
    others = [key for key in data if key not in REFERENCE_KEYS + HEADER_KEYS and data[key] != plain[key]]
    rows: list[tuple[str, str | None, list[tuple[str, str]]]] = []
    hidden, always = varied | _idle(config), _always(config)
    for key in (*REFERENCE_KEYS, *others):
        if key in hidden:
            continue
        value = data[key]
        if key == "dataset" or (isinstance(value, dict) and isinstance(plain[key], dict)):
            names = DATASET_KEYS if key == "dataset" else tuple(value)
            rows.append((key, None, list(_inner(key, {n: value[n] for n in names}, plain, hidden, always))))
        else:
            rows.append((key, _show(value), []))
    return rows


def _plain(config: Config) -> dict[str, Any]:
    """What every parameter is where it is not set; of options whose default differs between plug-ins there is none."""
    plain = Settings(task="-", model_name_or_path="-", dataset={"path": "-"}).model_dump(mode="python")  # type: ignore[arg-type]
    for place in PLACES:
        plain[place.key] |= defaults(place, _every(config, place.named_by))
    return plain


def _always(config: Config) -> set[str]:
    """Parameters that are shown even at their defaults."""
    every = {place.key: always_shown(place, _every(config, place.named_by)) for place in PLACES}
    return {*ALWAYS, *(f"{key}.{option}" for key, shown in every.items() for option in shown)}


def _inner(
    key: str, values: Mapping[str, Any], plain: Mapping[str, Any], hidden: Collection[str], always: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Rows of what stands inside a parameter, mappings of known names in it with dotted names."""
    for name, value in values.items():
        path = f"{key}.{name}"
        if path in hidden:
            continue
        if isinstance(value, dict) and has(plain, path) and lookup(plain, path):
            for inner, text in _inner(path, value, plain, hidden, always):
                yield f"{name}.{inner}", text
        elif path in always or not has(plain, path) or value != lookup(plain, path):
            yield name, _show(value)


def _idle(config: Config) -> set[str]:
    """Parameters that mean nothing to any run of the benchmark."""
    approaches = _every(config, "quantization_approach")
    frameworks = _every(config, "framework")
    idle = set() if approaches & CALIBRATED else {"calibration"}
    known = {name for framework in frameworks for name in registry.runtime(framework).Args.model_fields}
    idle.update(f"framework_args.{name}" for name, _ in config.base.framework_args if name not in known)
    makers = [registry.quantizer_for(framework, approach) for framework in frameworks for approach in approaches]
    return idle.union(set.intersection(*(set(maker.DECIDES) if maker else set() for maker in makers)))


def _every(config: Config, key: str) -> set[str]:
    """Every value that a parameter has in the benchmark."""
    varied = {str(value) for dimension in config.dimensions if dimension.key == key for value in dimension.values}
    return varied or {str(getattr(config.base, key))}


def _show(value: Any) -> str:
    return repr(list(value)) if isinstance(value, tuple) else str(value)


def _quality(config: Config, done: Sequence[Result]) -> str:
    metrics = list(_scored_metrics(done))
    header = _sections.run_header(config)
    for metric in metrics:
        header += [SEPARATOR, f"{metric} (original)", f"{metric} (optimized)"]
    rows = []
    for result in (result for result in done if result.scores):
        row = _sections.run_cells(result)
        for metric in metrics:
            row += [BAR, *(f"{result.scores[arm].metrics[metric]:.3f}" for arm in ("original", "optimized"))]
        rows.append(row)
    return table(header, rows)


def _shapes(config: Config, done: Sequence[Result]) -> list[tuple[int, InputLength | None, str]]:
    """(batch size, input length, time table) per shape, as on the reference card."""
    header = [
        *_sections.run_header(config),
        SEPARATOR,
        "latency_mean (original, ms)",
        "latency_mean (optimized, ms)",
        SEPARATOR,
        "throughput (original, /s)",
        "throughput (optimized, /s)",
    ]
    shapes: dict[tuple[int, InputLength | None], list[list[str]]] = {}
    for result in done:
        for latency in result.latency:
            arms = [latency.arms[name] for name in ("pytorch", "optimized")]
            row = [*_sections.run_cells(result), BAR, *(f"{speedups.mean_ms(arm):.2f}" for arm in arms)]
            row += [BAR, *(f"{speedups.calls_per_second(arm):.2f}" for arm in arms)]
            shapes.setdefault((latency.batch_size, latency.input_length), []).append(row)
    return [(batch, length, table(header, rows)) for (batch, length), rows in shapes.items()]


def _executed_in(config: Config) -> str:
    """Where the executed operators are counted."""
    alone = {registry.runtime(name).EXECUTED_ALONE for name in _every(config, "framework")}
    if len(alone) == 1 and "" not in alone:
        return alone.pop()
    told = [registry.runtime(name).EXECUTED for name in registry.names("runtimes")]
    return f"what the framework made of it on this machine: {', or '.join(filter(None, told))}"


def _float_scores(done: Sequence[Result]) -> str:
    """Metrics of the float export, which the original's should equal."""
    metrics = next((result.scores["onnx-float"].metrics for result in done if result.scores), {})
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def _seconds(results: Sequence[Result]) -> list[tuple[str, float]]:
    phases = ("export", "calibration", "quantization", "evaluation", "timing")
    return [(phase, sum(result.seconds.get(phase, 0.0) for result in results)) for phase in phases]

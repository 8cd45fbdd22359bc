"""Does ``tune`` find better versions than what people use, and what does that cost? All side by side in one call.

Rivals: the reference's hand-made exclusion list, ONNX Runtime's ``quantize_dynamic``, OpenVINO in bfloat16, OpenVINO
with NNCF. On the embedded model, where accuracy is judged, and on a model of DistilBERT's size with random weights,
where only latency means anything.
"""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.support import stages

import quantbench as qb
from bench.accuracy_control import accuracy_control
from quantbench import embedded
from quantbench.analysis import speedups
from quantbench.analysis.intervals import paired_bootstrap
from quantbench.analysis.undisturbed import session
from quantbench.config.keys import combinations
from quantbench.config.load import load_config
from quantbench.pipeline.export import float_model
from quantbench.pipeline.load import load, load_model
from quantbench.plugins.registry import runtime, task
from quantbench.reports._markdown import spread, table
from quantbench.results.store import Store
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import FrameworkArgs, Settings, TimeBenchmarkArgs
from quantbench.system import cache
from quantbench.timing.session import Shape, time_arms
from quantbench.tune.state import Tuned
from quantbench.tune.trials import TuningSet
from quantbench.tune.tuner import CALIBRATION_SAMPLES

SHAPES = ((4, 64), (1, 32))
SECONDS = 10.0
FIVE_GROUPS = ("layernorm", "gelu", "residual", "gather", "softmax")
ONNXRUNTIME_RIVALS = ("reference's five groups", "quantize_dynamic")


def report() -> str:
    """Markdown: latency against every rival on two models, accuracy of all, and the cost beside NNCF's own search."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seconds, tuned = _tune(root / "tuned", 0.005)
        strict_seconds, strict = _tune(root / "strict", 0.001)
        bench, best = _bench(root / "rivals", "demo"), _best(root / "tuned", tuned)
        parts = [
            "## tune against its rivals, embedded model",
            _compare(bench, best, scored=True),
            "## The same versions, DistilBERT-sized model with random weights: latency only",
            _compare(_bench(root / "large", _large(root / "checkpoint")), best, scored=False),
            "## What tune costs",
            _cost(root / "tuned", tuned, seconds, bench),
            "## A stricter limit, f1=0.001",
            f"{strict.best or 'the original'} after {strict_seconds:.0f} s: " + _first_lines(root / "strict"),
        ]
    return "\n\n".join(parts)


def _tune(folder: Path, drop: float) -> tuple[float, Tuned]:
    overrides = ["batch_sizes=[1, 4]", "input_lengths=[32, 64]", "time_benchmark_args={duration: 3, precision: 0.5}"]
    config = load_config(embedded.CONFIG, overrides)
    os.environ[cache.VARIABLE] = str(folder / "shared")  # or else the second search would find what the first made
    begin = time.perf_counter()
    found = qb.tune(config, out=folder, max_drop={"f1": drop}).state
    return time.perf_counter() - begin, found


def _best(folder: Path, tuned: Tuned) -> Settings | None:
    """Settings of the version that was found."""
    results = {result.run.name: result for result in Store(folder).results()}
    return results[tuned.best].run.settings if tuned.best else None


def _bench(folder: Path, model: str) -> TuningSet:
    _, settings = next(combinations(load_config(embedded.CONFIG, [f"model_name_or_path={model}"])))
    context = stages.context_at(folder / "cache")
    calibration = settings.calibration.model_copy(
        update={"num_calibration_samples": CALIBRATION_SAMPLES, "padding": "none", "sampling": "random", "stride": None}
    )
    plain = {"node_exclusion": (), "framework_args": FrameworkArgs(), "calibration": calibration}
    settings = settings.model_copy(update=plain)
    loaded = load(settings, context)
    return TuningSet.prepare(settings, loaded, float_model(settings, loaded, context), folder / "versions", context)


def _rivals(base: Settings) -> dict[str, Settings]:
    """What people use, as settings; the reference's list with unpadded calibration, which is the better one."""

    def of(**changes: Any) -> Settings:
        return base.model_copy(update=changes)

    bfloat16 = base.framework_args.model_copy(update={"precision": "bfloat16"})
    nncf = {"framework": "openvino", "quantization_approach": "static", "operators_to_quantize": ("MatMul",)}
    return {
        "reference's five groups": of(quantization_approach="static", node_exclusion=FIVE_GROUPS),
        "quantize_dynamic": of(quantization_approach="dynamic", operators_to_quantize=("MatMul",)),
        "OpenVINO bfloat16": of(framework="openvino", quantization_approach="none", framework_args=bfloat16),
        "OpenVINO + NNCF": of(**nncf),
        "OpenVINO + NNCF, rest bfloat16": of(**nncf, framework_args=bfloat16),
    }


def _own_onnx(base: Settings) -> dict[str, Settings]:
    """ONNX files of our own placement, on ONNX Runtime."""
    mixed = {"quantization_approach": "mixed", "per_channel": True, "operators_to_quantize": ("MatMul",)}
    placements = {
        f"own ONNX file, {mode}": base.placement.model_copy(update={"default": mode, "operators": "onnxruntime"})
        for mode in ("dynamic", "static")
    }
    return {name: base.model_copy(update={**mixed, "placement": placement}) for name, placement in placements.items()}


def _compare(bench: TuningSet, best: Settings | None, scored: bool) -> str:
    base = bench.settings
    versions = {**_rivals(base), **_own_onnx(base)}
    if best is not None:
        versions = {"best": best.model_copy(update={"model_name_or_path": base.model_name_or_path}), **versions}
    specs = {name: bench.spec(settings) for name, settings in versions.items()}
    specs["PyTorch"] = stages.original(base, bench.context)
    notes = {
        note
        for settings in versions.values()
        for note in runtime(settings.framework).notes(settings, bench.context.environment)
    }
    losses = {name: _loss(bench, spec) if scored else "–" for name, spec in specs.items()}
    rows = _ratios(bench, specs, losses)
    header = ["version", "f1, optimized − original"]
    for batch_size, length in SHAPES:
        header += [f"{batch_size} × {length}, ms", f"best is so many times as fast, {batch_size} × {length}"]
    return "\n\n".join([table(header, rows), *sorted(notes)])


def _loss(bench: TuningSet, spec: ArmSpec) -> str:
    kind, settings = task(bench.settings.task), bench.settings
    examples = stages.examples(settings, bench.context)
    plain = stages.predictions(stages.original(settings, bench.context), settings, bench.context).rows
    original = kind.score(examples, plain, plain)
    optimized = kind.score(examples, stages.predictions(spec, settings, bench.context).rows, plain)
    metrics = partial(kind.metrics, original.columns)
    return spread(paired_bootstrap(original.outcomes, optimized.outcomes, metrics)["f1"], 4, "+")


def _ratios(bench: TuningSet, specs: dict[str, ArmSpec], losses: dict[str, str]) -> list[list[str]]:
    """All arms in the same rounds; the ratio of every arm's latency to that of ``best``."""
    processor = load_model(bench.settings.sources, bench.context).processor
    shapes = [Shape(*shape, [processor.exact_inputs(*shape, seed=0)]) for shape in SHAPES]
    args = TimeBenchmarkArgs(duration=SECONDS, precision=0.9)
    timings = time_arms(specs, next(iter(specs)), shapes, args, bench.context.threads, lambda _: None)
    if timings.failures:
        raise RuntimeError(str(timings.failures))
    rows = []
    for name in specs:
        cells = [name, losses[name]]
        for measured in timings.shapes:
            cells.append(f"{speedups.percentile_ms(measured.arms[name], 50):.2f}")
            found = session(measured.arms, mixed=False)
            cells.append(spread(found.ratio(name, next(iter(specs))).interval.exp(), 2) if found else "too few slots")
        rows.append(cells)
    return rows


def _large(folder: Path) -> str:
    """A random token classifier of DistilBERT's size with the embedded tokenizer, saved to a folder."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, DistilBertConfig, DistilBertForTokenClassification

    labels = AutoConfig.from_pretrained(str(embedded.MODEL)).id2label
    tokenizer = AutoTokenizer.from_pretrained(str(embedded.MODEL))
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), id2label=labels, label2id={name: number for number, name in labels.items()}
    )
    DistilBertForTokenClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _cost(folder: Path, tuned: Tuned, seconds: float, bench: TuningSet) -> str:
    rival = accuracy_control(bench, 0.005)
    rows = [
        [
            "quantbench tune",
            f"{tuned.tokens / bench.evaluation_tokens:.2f}",
            f"{seconds:.0f}",
            "loss on examples that it was not chosen by",
        ],
        ["NNCF quantize_with_accuracy_control", f"{rival.evaluations:.2f}", f"{rival.seconds:.0f}", rival.outcome],
    ]
    header = ["search", "evaluations' worth of forwards", "seconds", "note"]
    return f"{table(header, rows)}\n\ntune's seconds include its final timing. {_first_lines(folder)}"


def _first_lines(folder: Path) -> str:
    from quantbench.reports import _tune

    text = (folder / _tune.FILE).read_text(encoding="utf-8")
    return " ".join(" ".join(text.split("\n## ")[0].splitlines()[2:]).replace("**", "").split())

"""A row of the table: what comes of exporting, quantizing and tuning a tiny model of an architecture."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tests.architectures.listed import Architecture
from tests.architectures.made import write
from tests.support import stages

from quantbench.api.limits import scored_limits
from quantbench.config.load import build_config
from quantbench.config.plan import run_of
from quantbench.errors import BadInput, first_line
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import load_model
from quantbench.pipeline.preflight import check
from quantbench.plugins import registry
from quantbench.results.store import Store
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings
from quantbench.sources.export import NEWER
from quantbench.tune.budget import Budget
from quantbench.tune.tuner import Tuning

COLUMNS = ("export", "static", "dynamic", "tune")
YES, NEWEST, NOTHING = "yes", f"from opset {NEWER} on, by the newer exporter", "–"
APART = 0.5
"""Most that an int8 model's outputs may differ from those of the float export, as a share of these: what int8 leaves of
random weights differs from machine to machine with the number types that are fast there, but a wrong graph leaves nothing.
"""
TO_NEWER = f"set framework_args.opset to {NEWER} or more"
"""How the reason ends where another opset helps."""
LONGEST = 240
"""Characters of a reason."""
OPERATORS = {"static": ("Conv", "Gemm", "MatMul"), "dynamic": ("MatMul",)}
ONLY = "onnxruntime-*"
"""The candidates that are tuned."""


def cells(architecture: Architecture, root: Path, columns: tuple[str, ...] = COLUMNS) -> dict[str, str]:
    """What comes of an architecture, by column; nothing is made of one that cannot be exported."""
    written = write(architecture, root)
    context = stages.context_at(root / "cache")
    found: dict[str, str] = {}
    opset = default_opset()
    found["export"] = told(lambda: export(written, opset, context))
    if found["export"].endswith(TO_NEWER):
        opset = NEWER
        again = told(lambda: export(written, opset, context))
        found["export"] = NEWEST if again == YES else again
    if found["export"] not in (YES, NEWEST):
        return {**dict.fromkeys(columns, NOTHING), **found}
    jobs: Mapping[str, Callable[[], None]] = {
        "static": lambda: quantize(written, "static", opset, root, context),
        "dynamic": lambda: quantize(written, "dynamic", opset, root, context),
        "tune": lambda: tune(written, opset, root, context),
    }
    return {**found, **{name: told(job) for name, job in jobs.items() if name in columns}}


def default_opset() -> int:
    """The opset that holds where none is set."""
    return int(Settings.model_fields["framework_args"].default.opset)


def told(work: Callable[[], None]) -> str:
    """``YES``, or why not: the first sentence, without figures that differ from machine to machine."""
    try:
        work()
    except BadInput as error:
        return _reason(error.mistakes[0].message.rpartition("cannot be used: ")[2])
    except Exception as error:  # a library's own, of any kind, which a run would fail with
        return _reason(first_line(error))
    return YES


def _reason(text: str) -> str:
    text = re.sub(
        r"differs from PyTorch by [\d.e+-]+( at [^,;]*)?, where rounding explains [\d.e+-]+",
        r"differs from PyTorch\1",
        text,
    )
    text = re.sub(r"(cannot be run at [^:]*): .*; (its tracing)", r"\1; \2", text)
    text = re.sub(r"model '/[^']*'", "it", text)
    return text if text.endswith(TO_NEWER) else textwrap.shorten(text.replace("|", "\\|"), LONGEST, placeholder=" …")


def settings_of(written: Mapping[str, Any], opset: int, **changes: Any) -> Any:
    """The configuration of what was written."""
    data = {**written, "framework_args": {"opset": opset}, "batch_sizes": [], **changes}
    return build_config(data, {}, "architectures.yaml")


def export(written: Mapping[str, Any], opset: int, context: Context) -> None:
    """Check and export, which compares with PyTorch on all lengths of the texts, alone and padded."""
    config = settings_of(written, opset, quantization_approach="none")
    check(config, context, [])
    stages.exported(config.base, context)


def quantize(written: Mapping[str, Any], approach: str, opset: int, root: Path, context: Context) -> None:
    """Make an int8 version and run it on the examples: some operator is quantized, and its outputs are alike."""
    changes = {
        "quantization_approach": approach,
        "operators_to_quantize": list(OPERATORS[approach]),
        "calibration": {"num_calibration_samples": 8},
    }
    settings = settings_of(written, opset, **changes).base
    artifact, optimized = stages.optimized(run_of(settings), root / "models", context)
    assert artifact.operators, "runs, but nothing is quantized"
    floats = outputs(stages.exported(settings, context), settings, context)
    found = outputs(optimized, settings, context)
    assert np.isfinite(found).all(), "gives outputs that are no numbers"
    assert apart(floats, found) <= APART, "runs, but its outputs are hardly those of the float export"


def outputs(arm: ArmSpec, settings: Settings, context: Context) -> np.ndarray:
    """The outputs of all examples one by one, flat."""
    examples = stages.examples(settings, context)
    session = registry.runtime(arm.runtime).load(arm, 1)
    collate = load_model(settings.sources, context).processor.collate
    each = [session.predict(collate([given]))[0] for given in examples.inputs]
    return np.concatenate([value.ravel() for value in each])


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Norm of the difference as a share of the first's; infinite where shapes differ."""
    return float(np.linalg.norm(other - one) / np.linalg.norm(one)) if one.shape == other.shape else math.inf


def tune(written: Mapping[str, Any], opset: int, root: Path, context: Context) -> None:
    """All of a search but its timing: sensitivities, and the first version of every candidate, made and tried."""
    base = settings_of(written, opset, quantization_approach="none").base
    limits = scored_limits((), base, context)
    search = Tuning.prepare(base, limits, Budget(), Store(root / "tuned"), context, ONLY)
    search._sensitivities()
    lost = {name: told(lambda name=name: _try(search, name)) for name in search.candidates}
    failed = {name: reason for name, reason in lost.items() if reason != YES}
    assert not failed, "; ".join(f"without {name}: {reason}" for name, reason in failed.items())


def _try(search: Tuning, name: str) -> None:
    limits = {limit.metric: limit.drop for limit in search.limits}
    assert search.tuning_set.outcome(search.candidates[name].settings, limits, name).examples

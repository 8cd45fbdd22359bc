"""What a plan will cost, from what is known without opening the model: an estimate, and what runs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.records import Run, digest

PREPARATION_SECONDS = 20.0
EVALUATION_SECONDS = 20.0
RUN_SECONDS = 10.0
"""Typical seconds of loading and exporting a model, of evaluating one arm, and of quantizing and evaluating one
optimized model, for a six-layer encoder and some thousand sentences on two cores. Only timing is known exactly."""


@dataclass(frozen=True)
class Shared:
    """How often each kind of shared work is done for a plan."""

    exports: int
    calibrations: int
    originals: int
    timed_arms: int
    shapes: int
    timing_seconds: float
    total_seconds: float


def estimate(runs: Sequence[Run]) -> Shared:
    """Count shared work of runs and estimate the time they take together."""
    settings = [run.settings for run in runs]
    models = {s.model_name_or_path for s in settings}
    exports = {(s.model_name_or_path, s.framework_args.opset) for s in settings}
    float_arms = {(*export, level) for s in settings for export, level in [_float_arm(s)]}
    calibrations = {
        (
            s.model_name_or_path,
            s.framework_args.opset,
            digest(s.calibration.model_dump(mode="json")),
            s.dataset.model_dump_json(),
        )
        for s in settings
        if s.quantization_approach == "static"
    }
    originals = {(s.model_name_or_path, s.dataset.model_dump_json(), s.max_eval_samples) for s in settings}
    arms = len(models) + len(float_arms) + len(runs)
    shapes = max((len(s.batch_sizes) * len(s.input_lengths) for s in settings), default=0)
    timing = sum(s.time_benchmark_args.duration * len(s.batch_sizes) * len(s.input_lengths) for s in settings) + (
        arms - len(runs)
    ) * shapes * max((s.time_benchmark_args.duration for s in settings), default=0.0)
    work = (
        PREPARATION_SECONDS * len(exports)
        + EVALUATION_SECONDS * (len(originals) + len(float_arms))
        + RUN_SECONDS * len(runs)
    )
    return Shared(len(exports), len(calibrations), len(originals), arms, shapes, timing, timing + work if runs else 0.0)


def _float_arm(settings: object) -> tuple[tuple[str, int], int]:
    from quantbench.records import Settings

    assert isinstance(settings, Settings), "settings of a run"
    args = settings.framework_args
    return (settings.model_name_or_path, args.opset), args.optimization_level

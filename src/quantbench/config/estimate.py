"""What a plan will cost, from what is known without opening the model: an estimate, and what runs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from quantbench.plugins import registry
from quantbench.schema.base import digest
from quantbench.schema.results import Run
from quantbench.schema.settings import Settings

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
    noise_seconds: float
    """Of timing float exports against themselves; nothing where the machine's cache knows it."""
    total_seconds: float


def estimate(runs: Sequence[Run]) -> Shared:
    """Count shared work of runs and estimate the time they take together."""
    settings = [run.settings for run in runs]
    exports = {(s.model_name_or_path, s.framework_args.opset) for s in settings}
    calibrations = {
        digest(
            [
                *_data(s, "calibration_split"),
                s.framework_args.opset,
                s.calibration.model_dump(mode="json"),
                _reads_samples(s),
            ]
        )
        for s in settings
        if s.calibrated
    }
    timed, evaluated = [s for s in settings if s.is_timed], [s for s in settings if s.is_evaluated]
    originals = {digest([*_data(s, "eval_split"), s.max_eval_samples]) for s in evaluated}
    models = {s.model_name_or_path for s in timed}
    floats = len({_float_arm(s) for s in timed})
    shared = 2 * len(models) + floats  # originals twice, once as the null arm
    shapes = max(map(_shapes, settings), default=0)
    duration = max((s.time_benchmark_args.duration for s in timed), default=0.0)
    timing = shared * shapes * duration + sum(s.time_benchmark_args.duration * _shapes(s) for s in timed)
    compared = any(s.time_benchmark_args.compares_launches for s in timed)
    noise = min(timing, 2 * floats * shapes * duration) if compared else 0.0
    work = PREPARATION_SECONDS * len(exports) + RUN_SECONDS * len(runs)
    work += sum(60 * s.aware_training_args.minutes for s in settings if s.aware_training)
    work += EVALUATION_SECONDS * (len(originals) + len({_float_arm(s) for s in evaluated}))
    return Shared(
        exports=len(exports),
        calibrations=len(calibrations),
        originals=len(originals),
        timed_arms=shared + len(timed),
        shapes=shapes,
        timing_seconds=timing,
        noise_seconds=noise,
        total_seconds=timing + noise + work,
    )


def _reads_samples(settings: Settings) -> bool:
    """Whether the quantizer collects ranges itself, so that its pass over the samples is shared with none."""
    quantizer = registry.quantizer_for(settings.framework, settings.quantization_approach)
    return quantizer is not None and quantizer.reads(settings) == "samples"


def _float_arm(settings: Settings) -> tuple[str, int, str, str]:
    """What tells float exports apart, as they are evaluated and timed."""
    runtime = registry.float_runtime(settings.framework)
    return settings.model_name_or_path, settings.framework_args.opset, runtime, _loaded_with(settings)


def _shapes(settings: Settings) -> int:
    lengths = len(settings.input_lengths) if registry.task(settings.task).PROCESSOR.HAS_LENGTH else 1
    return len(settings.batch_sizes) * lengths


def _loaded_with(settings: Settings) -> str:
    """Options of the runtime that tell arms of the same float export apart; it is in float32 whatever else is."""
    args = settings.framework_args.model_copy(update={"precision": "float32"})
    in_float32 = settings.model_copy(update={"framework_args": args})
    return digest(registry.runtime(registry.float_runtime(settings.framework)).options(in_float32))


def _data(settings: Settings, split: str) -> list[JsonValue]:
    """What names the model and a split of the data."""
    dataset = settings.dataset
    return [settings.model_name_or_path, dataset.path, dataset.name, dataset.revision, getattr(dataset, split)]

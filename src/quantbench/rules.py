"""Rules over more than one parameter: what cannot be, although each value is fine by itself.

A rule names the parameters that it looks at, so that a grid in which it forbids only some combinations can skip those
and a value that can never run is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantbench import instructions, registry
from quantbench.records import Settings

MIN_OPSET = 11
MAX_OPSET = 20
"""Range of the TorchScript-based exporter of PyTorch (``torch.onnx``, ``ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET``)."""
PER_CHANNEL_MIN_OPSET = 13
"""``DequantizeLinear`` takes an axis since opset 13 (ONNX operator specification)."""


@dataclass(frozen=True)
class Rule:
    """``check`` returns a message, or None where the settings are fine. ``keys``: first the one to blame."""

    keys: tuple[str, ...]
    check: Callable[[Settings], str | None]


def _opset(settings: Settings) -> str | None:
    opset = settings.framework_args.opset
    if MIN_OPSET <= opset <= MAX_OPSET:
        return None
    word = "old" if opset < MIN_OPSET else "new"
    return f"opset {opset} is too {word}; the exporter writes {MIN_OPSET} to {MAX_OPSET}, set one of these"


def _per_channel(settings: Settings) -> str | None:
    opset = settings.framework_args.opset
    if not settings.per_channel or settings.quantization_approach == "dynamic" or opset >= PER_CHANNEL_MIN_OPSET:
        return None
    return (
        f"per_channel: true needs opset {PER_CHANNEL_MIN_OPSET} or newer, framework_args.opset is {opset}; "
        "raise it or set per_channel: false"
    )


def _calibration_split(settings: Settings) -> str | None:
    if settings.quantization_approach == "dynamic" or settings.dataset.calibration_split:
        return None
    return (
        "static quantization needs dataset.calibration_split, the split from which ranges are collected; "
        "set it, such as calibration_split: train, or use quantization_approach: dynamic"
    )


def _activation_type(settings: Settings) -> str | None:
    if settings.quantization_approach == "static" or settings.activation_type != "int8":
        return None
    return "dynamic quantization has uint8 activations only (DynamicQuantizeLinear); use auto or uint8"


def _backend_args(settings: Settings) -> str | None:
    known = registry.launcher(settings.backend.name).ARGS
    wrong = [name for name in settings.backend.args if name not in known]
    return registry.unknown_name(wrong[0], known, f"argument of backend {settings.backend.name}") if wrong else None


def _supported_instructions(settings: Settings) -> str | None:
    level = settings.backend.args.get(instructions.KEY)
    if level is None or level in instructions.LEVELS:
        return None
    return registry.unknown_name(str(level), ["null", *instructions.LEVELS], instructions.KEY)


def _mixed_types(settings: Settings) -> str | None:
    if settings.activation_type != "int8" or settings.weight_type != "uint8":
        return None
    return "ONNX Runtime has no kernels for int8 activations with uint8 weights; use int8 or auto for weight_type"


def _aware_training(settings: Settings) -> str | None:
    if not settings.aware_training:
        return None
    return "quantization-aware training is not done here (the model is given, not trained); set it to false"


def _moving_average(settings: Settings) -> str | None:
    calibration = settings.calibration
    if not calibration.moving_average or calibration.method == "minmax":
        return None
    return f"moving_average belongs to method minmax, not {calibration.method}; remove one of them"


def _stride(settings: Settings) -> str | None:
    if settings.calibration.stride is None or settings.calibration.sampling == "strided":
        return None
    return f"stride belongs to sampling strided, not {settings.calibration.sampling}; remove one of them"


def _framework(settings: Settings) -> str | None:
    if any(registry.runtime(settings.framework).OPERATORS.values()):
        return None
    return f"framework {settings.framework} runs models as they are and quantizes none; use onnxruntime"


RULES: Sequence[Rule] = (
    Rule(("framework_args.opset",), _opset),
    Rule(("per_channel", "framework_args.opset", "quantization_approach"), _per_channel),
    Rule(("quantization_approach", "dataset.calibration_split"), _calibration_split),
    Rule(("activation_type", "quantization_approach"), _activation_type),
    Rule(("weight_type", "activation_type"), _mixed_types),
    Rule(("backend.args",), _backend_args),
    Rule((f"backend.args.{instructions.KEY}",), _supported_instructions),
    Rule(("framework",), _framework),
    Rule(("aware_training",), _aware_training),
    Rule(("calibration.moving_average", "calibration.method"), _moving_average),
    Rule(("calibration.stride", "calibration.sampling"), _stride),
)


def broken(settings: Settings, among: Sequence[Rule] = RULES) -> list[tuple[Rule, str]]:
    """The rules that these settings break, with their messages."""
    return [(rule, message) for rule in among if (message := rule.check(settings)) is not None]

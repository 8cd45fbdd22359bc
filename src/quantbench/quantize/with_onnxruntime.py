"""The quantized graph, written by ONNX Runtime's quantizer from ranges of our own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.graph import external
from quantbench.quantize.calibration.ranges import Ranges
from quantbench.quantize.keep_float import keep_in_float
from quantbench.quantize.silence import silence
from quantbench.schema.settings import Recipe
from quantbench.system import onnx_files


def write_quantized(
    float_model: Path,
    settings: Recipe,
    types: tuple[str, str],
    exclude: Sequence[str],
    ranges: Ranges | None,
    path: Path,
) -> None:
    """Write an int8 version of a float model.

    Args:
        float_model: float ONNX file with inferred shapes.
        settings: approach, operators and granularity.
        types: number types of activations and weights, ``uint8`` or ``int8``.
        exclude: names of nodes that stay in float.
        ranges: range per float tensor; None for dynamic quantization.
        path: the file to write.

    """
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch, silence():
        target = Path(scratch) / "quantized.onnx"
        if ranges is None:
            _dynamic(float_model, settings, types, exclude, target)
        else:
            _static(float_model, settings, types, exclude, ranges, target)
        model = external.read(target)
        if ranges is not None:
            keep_in_float(model, exclude)
        onnx_files.write(model, path)


def _dynamic(float_model: Path, settings: Recipe, types: tuple[str, str], exclude: Sequence[str], target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(
        str(float_model),
        str(target),
        op_types_to_quantize=list(settings.operators_to_quantize),
        per_channel=settings.per_channel,
        weight_type=_quant_type(types[1]),
        nodes_to_exclude=list(exclude),
        use_external_data_format=_apart(float_model),
    )


def _static(
    float_model: Path, settings: Recipe, types: tuple[str, str], exclude: Sequence[str], ranges: Ranges, target: Path
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    cache = target.parent / "ranges.json"
    values: dict[str, Any] = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, values), cache)
    quantize_static(
        str(float_model),
        str(target),
        None,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(settings.operators_to_quantize),
        per_channel=settings.per_channel,
        activation_type=_quant_type(types[0]),
        weight_type=_quant_type(types[1]),
        nodes_to_exclude=list(exclude),
        use_external_data_format=_apart(float_model),
        calibrate_method=CalibrationMethod.MinMax,
        calibration_cache_path=str(cache),
    )


def _apart(float_model: Path) -> bool:
    """Whether weights are too large for one file."""
    return len(onnx_files.files(float_model)) > 1


def _quant_type(name: str) -> Any:
    from onnxruntime.quantization import QuantType

    return {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}[name]

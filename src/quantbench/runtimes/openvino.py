"""OpenVINO on the CPU: one stream, an explicit thread count and inference precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings
from quantbench.served import openvino as served

SUMMARY = "OpenVINO, CPU plug-in; int8 through NNCF"
OPERATORS: Mapping[str, tuple[str, ...]] = {"static": ("MatMul",), "mixed": ("MatMul",), "none": ()}
"""With ``static`` NNCF chooses the operators; the default is all that can be named."""
FILES = {"static": "model.xml", "mixed": "model.onnx", "none": "model.onnx"}
ARGS = ("opset", "precision", "preset", "smooth_quant_alpha")
LIBRARIES = ("openvino", "nncf")
EXTRA = "openvino"
SERVED = served
DATA_LAYERS = ("Input", "Output", "Const", "Constant", "Parameter", "Result")
"""Layer types of an executable graph that compute nothing."""


def load(spec: ArmSpec, num_threads: int) -> served.OpenVinoSession:
    """Compile the ONNX file or IR ``spec.path`` in the precision ``spec.options['precision']``."""
    return served.load(spec.path, spec.options, num_threads)


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the precision of what is not computed in int8."""
    return {"precision": settings.framework_args.precision}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Layers of the executable graph, by type and the precision that they compute in, such as FullyConnected [u8]."""
    counts: Counter[str] = Counter()
    for node in served.compiled(spec.path, spec.options, 1).get_runtime_model().get_ops():
        about = node.get_rt_info()
        kind, precision = (about[key].astype(str) for key in ("layerType", "runtimePrecision"))
        if kind not in DATA_LAYERS:
            counts[f"{kind} [{precision}]"] += 1
    return dict(sorted(counts.items()))

"""OpenVINO on the CPU: one stream, an explicit thread count and inference precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from quantbench.records import ArmSpec
from quantbench.settings import Settings

SUMMARY = "OpenVINO, CPU plug-in; int8 through NNCF"
OPERATORS: Mapping[str, tuple[str, ...]] = {"static": ("MatMul",), "mixed": ("MatMul",), "none": ()}
"""With ``static`` NNCF chooses the operators; the default is all that can be named."""
FILES = {"static": "model.xml", "mixed": "model.onnx", "none": "model.onnx"}
ARGS = ("opset", "precision", "preset", "smooth_quant_alpha")
LIBRARIES = ("openvino", "nncf")
EXTRA = "openvino"
INFER = """
import openvino

OPTIONS = json.loads({options!r})
PRECISIONS = {{"float32": "f32", "bfloat16": "bf16"}}

def load():
    path = next(path for path in (FOLDER / "model.xml", FOLDER / "model.onnx") if path.exists())
    properties = {{
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": THREADS,
        "INFERENCE_PRECISION_HINT": PRECISIONS[OPTIONS["precision"]],
    }}
    model = openvino.Core().compile_model(str(path), "CPU", properties)
    names = {{name for item in model.inputs for name in item.get_names()}}

    def run(inputs):
        outputs = model({{name: inputs[name] for name in names if name in inputs}})
        return [outputs[index] for index in range(len(model.outputs))]

    return run
"""
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
DATA_LAYERS = ("Input", "Output", "Const", "Constant", "Parameter", "Result")
"""Layer types of an executable graph that compute nothing."""


class OpenVinoSession:
    """A compiled model; arrays in, arrays out."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self._request = compiled.create_infer_request()
        self._names = {name for item in compiled.inputs for name in item.get_names()}

    def predict(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs of one batch as arrays."""
        outputs = self._request.infer(self._known(inputs))
        return [outputs[index] for index in range(len(self.compiled.outputs))]

    def prepare(self, inputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call that runs one batch, in an infer request of its own that reads the arrays where they are."""
        import openvino

        request = self.compiled.create_infer_request()
        arrays = self._known(inputs)  # the tensors do not keep them alive, the call does
        for name, array in arrays.items():
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

        def call(_: object = arrays) -> object:
            return request.infer(share_outputs=True)

        return call

    def _known(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: np.ascontiguousarray(array) for name, array in inputs.items() if name in self._names}


def load(spec: ArmSpec, num_threads: int) -> OpenVinoSession:
    """Compile the ONNX file or IR ``spec.path`` in the precision ``spec.options['precision']``."""
    return OpenVinoSession(_compiled(spec, num_threads))


def options(settings: Settings) -> dict[str, JsonValue]:
    """Options of an arm: the precision of what is not computed in int8."""
    return {"precision": settings.framework_args.precision}


def executed(spec: ArmSpec, scratch: Path) -> dict[str, int]:
    """Layers of the executable graph, by type and the precision that they compute in, such as FullyConnected [u8]."""
    counts: Counter[str] = Counter()
    for node in _compiled(spec, 1).get_runtime_model().get_ops():
        about = node.get_rt_info()
        kind, precision = (about[key].astype(str) for key in ("layerType", "runtimePrecision"))
        if kind not in DATA_LAYERS:
            counts[f"{kind} [{precision}]"] += 1
    return dict(sorted(counts.items()))


def _compiled(spec: ArmSpec, num_threads: int) -> Any:
    import openvino

    core = openvino.Core()
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": num_threads,
        "INFERENCE_PRECISION_HINT": PRECISIONS[str(spec.options["precision"])],
        "ENABLE_CPU_PINNING": False,  # the process is pinned already, like those of all arms
        "ENABLE_HYPER_THREADING": True,  # else the latency hint halves the threads where cores have two
        "SCHEDULING_CORE_TYPE": "ANY_CORE",
    }
    return core.compile_model(core.read_model(spec.path), "CPU", properties)

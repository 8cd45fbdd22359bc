"""OpenVINO on the CPU: models compiled with the properties that everything is scored, timed and served with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LIBRARIES = ("openvino",)
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


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


def compiled(path: str, options: Mapping[str, Any], num_threads: int) -> Any:
    """An ONNX file or IR, compiled in the precision ``options["precision"]``."""
    import openvino

    core = openvino.Core()
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": num_threads,
        "INFERENCE_PRECISION_HINT": PRECISIONS[str(options["precision"])],
        "ENABLE_CPU_PINNING": False,  # the process is pinned already, like those of all arms
        "ENABLE_HYPER_THREADING": True,  # else the latency hint halves the threads where cores have two
        "SCHEDULING_CORE_TYPE": "ANY_CORE",
    }
    return core.compile_model(core.read_model(path), "CPU", properties)


def load(path: str, options: Mapping[str, Any], num_threads: int) -> OpenVinoSession:
    """Compile a file; see :func:`compiled`."""
    return OpenVinoSession(compiled(path, options, num_threads))

"""Loads models for the toy runtime: node by node, as ONNX's own reference implementation computes."""

from __future__ import annotations

LIBRARIES = ("onnx",)


class ToySession:
    """A loaded ONNX model; arrays in, arrays out."""

    def __init__(self, evaluator):
        self._evaluator = evaluator

    def predict(self, inputs):
        return list(self._evaluator.run(None, self._known(inputs)))

    def prepare(self, inputs):
        feed = self._known(inputs)
        return lambda: self._evaluator.run(None, feed)

    def _known(self, inputs):
        return {name: array for name, array in inputs.items() if name in self._evaluator.input_names}


def load(path, options, num_threads):
    from onnx.reference import ReferenceEvaluator

    return ToySession(ReferenceEvaluator(path))

"""Loads models for the toy runtime: node by node, as ONNX's own reference implementation computes."""

from __future__ import annotations

LIBRARIES = ("onnx",)


class ToySession:
    """A loaded ONNX model; arrays in, arrays out."""

    def __init__(self, evaluator, repeats):
        self._evaluator, self._repeats = evaluator, repeats

    def predict(self, inputs):
        return self._run(self._known(inputs))

    def prepare(self, inputs):
        feed = self._known(inputs)
        return lambda: self._run(feed)

    def _run(self, feed):
        return [self._evaluator.run(None, feed) for _ in range(self._repeats)][-1]

    def _known(self, inputs):
        return {name: array for name, array in inputs.items() if name in self._evaluator.input_names}


def load(path, options, num_threads):
    from onnx.reference import ReferenceEvaluator

    return ToySession(ReferenceEvaluator(path), options.get("repeats", 1))

"""ONNX Runtime on the CPU: sessions with the options that everything is scored, timed and served with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LIBRARIES = ("onnxruntime",)
LEVELS = {0: "ORT_DISABLE_ALL", 1: "ORT_ENABLE_BASIC", 2: "ORT_ENABLE_EXTENDED", 99: "ORT_ENABLE_ALL"}
CONFIG_ENTRIES = {
    "allow_spinning": "session.intra_op.allow_spinning",
    "dynamic_block_base": "session.dynamic_block_base",
    "denormal_as_zero": "session.set_denormal_as_zero",
    "disable_prepacking": "session.disable_prepacking",
}
"""Session options that are entries of a session's configuration; the others are attributes of their own name."""


class OnnxSession:
    """A loaded ONNX model; arrays in, arrays out. ``session`` is ONNX Runtime's own."""

    def __init__(self, session: Any) -> None:
        self.session = session
        given = (*session.get_inputs(), *session.get_overridable_initializers())
        self._names = {item.name for item in given}

    def predict(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs of one batch as arrays."""
        return list(self.session.run(None, self._known(inputs)))

    def prepare(self, inputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call that runs one batch."""
        feed, run = self._known(inputs), self.session.run
        return lambda: run(None, feed)

    def _known(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: array for name, array in inputs.items() if name in self._names}


def session_options(optimization_level: int, num_threads: int, chosen: Mapping[str, Any] | None = None) -> Any:
    """The options that every session of quantbench runs with, timed, scored or served.

    ``force_spinning_stop`` lets the thread pool rest between calls, so that waiting arms do not disturb others.

    Args:
        optimization_level: as in ``framework_args``.
        num_threads: of the pool within operators.
        chosen: values by the names of the runtime's ``SessionOptions``; the others stay at ONNX Runtime's defaults.

    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[optimization_level])
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4  # errors are raised, and would be told twice
    for name, value in (chosen or {}).items():
        if name in CONFIG_ENTRIES:
            options.add_session_config_entry(CONFIG_ENTRIES[name], str(int(value)))
        else:
            setattr(options, name, value)
    return options


def options_of(options: Mapping[str, Any], num_threads: int) -> Any:
    """Those of an arm; ``options`` has the ``optimization_level`` and ``session_options`` that are not by default."""
    level, chosen = options["optimization_level"], options.get("session_options")
    assert isinstance(level, int), "as the runtime's options() wrote it"
    return session_options(level, num_threads, chosen if isinstance(chosen, dict) else None)


def load(path: str, options: Mapping[str, Any], num_threads: int) -> OnnxSession:
    """Load an ONNX file; see :func:`options_of`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, options_of(options, num_threads), providers=["CPUExecutionProvider"])
    return OnnxSession(session)

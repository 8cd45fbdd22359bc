"""The toy runtime: ONNX's reference implementation, with 8-bit weights by a quantizer of its own."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field

from quantbench.plugins.options import typed
from quantbench.plugins.protocols import Rule
from quantbench.plugins.signature import Signature
from quantbench.schema.settings import FrameworkArgs, Positive
from toys import served_toy as served

SUMMARY = "ONNX's reference implementation"
QUANTIZERS = {"dynamic": "toy-int8", "none": "none"}
OPERATORS = {"dynamic": ("MatMul",), "none": ()}
LOADS_FOLDER = False
ENDINGS = (".toy",)
CRASHES = b"crash"
"""What a file holds that takes the process down with it, as a runtime's own mistakes do."""
FAST_PRODUCTS = ()
OWN_OPERATORS = False
LIBRARIES = ("toys", "onnx")
EXTRA = ""
FLOAT_RUNTIME = "toy"
EXECUTED = "the nodes of the file, which the toy computes one by one"
EXECUTED_ALONE = EXECUTED
SERVED = served


class Args(FrameworkArgs, extra="forbid"):
    """Options of the toy: ``repeats`` is how often it computes what it is asked, which changes nothing but the time."""

    repeats: Annotated[Positive, Field(le=9)] = 1


def _precision(settings):
    if settings.framework_args.precision == "float32":
        return None
    return "the toy computes in float32 only; remove framework_args.precision"


RULES = (Rule(("framework_args.precision", "framework"), _precision),)


def load(spec, num_threads):
    path = Path(spec.path)
    if path.is_file() and path.read_bytes() == CRASHES:
        os.kill(os.getpid(), signal.SIGSEGV)
    return served.load(spec.path, spec.options, num_threads)


def signature(session):
    return Signature()


def options(settings):
    return {"repeats": typed(Args, settings).repeats}


def executed(spec, scratch):
    import onnx

    graph = onnx.load(spec.path).graph
    int8 = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.INT8}
    counts = Counter(f"{node.op_type}{' [int8]' if int8 & set(node.input) else ''}" for node in graph.node)
    return dict(sorted(counts.items()))


def precisions(instruction_sets):
    return ("float32",)


def is_integer(operator):
    return operator.endswith("[int8]")


def why_float(settings):
    return "The toy found no 8-bit weights"


def notes(settings, environment):
    return ("The toy is slow.",)

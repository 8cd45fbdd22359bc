"""What the timing experiments share: arms of the embedded model, a planted slowdown, a load that comes and goes."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.support import stages

import quantbench as qb
from quantbench import embedded
from quantbench.config.keys import combinations
from quantbench.config.load import load_config
from quantbench.pipeline.load import load_model
from quantbench.results.store import Store
from quantbench.schema.results import ArmSpec, Result
from quantbench.served.onnxruntime import session_options
from quantbench.system import cache, environment
from quantbench.timing.session import Shape

BATCH_SIZE, LENGTH = 4, 64
SIDE = 64
"""Width of the matrices whose products are the planted extra work."""
PROBE_LENGTH = 400
"""Products whose time together is measured to know that of one."""
PROBE_CALLS = 300
"""So many that they outlast a short disturbance."""


def float_arm(cache: Path) -> tuple[ArmSpec, ArmSpec, Shape]:
    """The original, the float export of the embedded model, and the shape that they are timed at."""
    _, settings = next(combinations(load_config(embedded.CONFIG, ["framework_args.opset=17"])))
    bench = stages.context_at(cache)
    inputs = load_model(settings.sources, bench).processor.exact_inputs(BATCH_SIZE, LENGTH, 0)
    return stages.original(settings, bench), stages.exported(settings, bench), Shape(BATCH_SIZE, LENGTH, [inputs])


def slowed(spec: ArmSpec, shape: Shape, shares: Sequence[float]) -> dict[float, ArmSpec]:
    """The same model with real extra work of about each share of its time: a chain of small matrix products."""
    probe = Path(spec.path).with_name("probe.onnx")
    _write_with_chain(Path(spec.path), probe, PROBE_LENGTH)
    plain, longer = _seconds([spec.path, str(probe)], shape)
    found = {}
    for share in shares:
        path = Path(spec.path).with_name(f"slowed-{share}.onnx")
        _write_with_chain(Path(spec.path), path, max(1, round(share * plain / (longer - plain) * PROBE_LENGTH)))
        found[share] = spec.model_copy(update={"path": str(path), "sha256": f"{spec.sha256}+{share}"})
    return found


def _seconds(paths: Sequence[str], shape: Shape) -> list[float]:
    """Seconds of a call of each file: the fastest of many in turns, which is what extra work adds to."""
    import onnxruntime

    options = session_options(99, environment.usable_cores())
    sessions = [onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in paths]
    names = {item.name for item in sessions[0].get_inputs()}
    feed = {name: array for name, array in shape.batches[0].items() if name in names}
    fastest = [float("inf")] * len(paths)
    for _ in range(PROBE_CALLS):
        for number, session in enumerate(sessions):
            begin = time.perf_counter()
            session.run(None, feed)
            fastest[number] = min(fastest[number], time.perf_counter() - begin)
    return fastest


def _write_with_chain(source: Path, target: Path, length: int) -> None:
    """Add ``length`` matrix products that depend on the input and end in an output of their own."""
    model = onnx.load(str(source))
    graph = model.graph
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(SIDE, SIDE)))[0].astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(rotation, "extra/rotation"))
    graph.node.append(helper.make_node("Cast", [graph.input[0].name], ["extra/float"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("ReduceMean", ["extra/float"], ["extra/mean"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["extra/mean", "extra/rotation"], ["extra/0"]))
    for number in range(length):
        graph.node.append(helper.make_node("MatMul", [f"extra/{number}", "extra/rotation"], [f"extra/{number + 1}"]))
    graph.output.append(helper.make_tensor_value_info(f"extra/{length}", TensorProto.FLOAT, [SIDE, SIDE]))
    onnx.save(model, str(target))


def run_demo(folder: Path) -> tuple[list[Result], float]:
    """Run the demo into an empty folder; its results and the seconds that it took."""
    begin = time.perf_counter()
    os.environ[cache.VARIABLE] = str(folder / "shared")  # or else a second demo would find what the first made
    qb.run(load_config(embedded.CONFIG), out=folder)
    return Store(folder).results(), time.perf_counter() - begin


@contextmanager
def load_on_and_off(wanted: bool) -> Iterator[None]:
    """A second process that uses one core for half a second to three seconds at a time, with pauses as long."""
    if not wanted:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _burn() -> None:
    """Until killed, or the parent is gone, which a killed benchmark cannot tell."""
    generator, parent = random.Random(1), os.getppid()
    while os.getppid() == parent:
        end = time.monotonic() + generator.uniform(0.5, 3)
        while time.monotonic() < end:
            pass
        time.sleep(generator.uniform(0.5, 3))

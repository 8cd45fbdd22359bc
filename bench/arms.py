"""What the timing experiments share: arms of the embedded model, a planted slowdown, a load that comes and goes."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
from quantbench.system.files import file_sha256
from quantbench.timing.session import Shape

BATCH_SIZE, LENGTH = 4, 64
SIDE = 64
"""Width of the matrices whose products are the planted extra work."""
PROBE_LENGTH = 400
"""Products whose time together is measured to know that of one."""
PROBE_CALLS = 300
"""So many that they outlast a short disturbance."""
COPIED_BYTES = 256 * 2**20
"""Of each of two arrays, the one copied to the other: more than any cache has."""


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


def lengthened(spec: ArmSpec, share: float, folder: Path) -> ArmSpec:
    """The same model with more feed-forward layers before its classifier: work of the same kind.

    Every layer adds to its input what two matrix products with weights of their own make of it, as those of the model
    do, so that what slows the model (another process, a full memory bus) slows the extra work alike. What is read of
    the file in the end comes from the last layer, so that nothing can be optimized away.

    Args:
        spec: the float export of the embedded model.
        share: of the multiplications with the model's own weights that is added.
        folder: where the file is written.

    """
    path = folder / f"lengthened-{share:g}.onnx"
    if not path.exists():
        model = onnx.load(spec.path)
        weights = [item.dims for item in model.graph.initializer if "MatMul" in item.name and len(item.dims) == 2]
        hidden, wide = max((dims for dims in weights), key=lambda dims: dims[1])
        columns = share * sum(rows * width for rows, width in weights) / (2 * hidden)
        layers = max(1, round(columns / wide))
        _add_layers(model.graph, layers, hidden, round(columns / layers))
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(path))
    return spec.model_copy(update={"path": str(path), "sha256": file_sha256(path)})


def _add_layers(graph: onnx.GraphProto, layers: int, hidden: int, wide: int) -> None:
    """Put layers before the last matrix product of a graph, in front of the nodes that follow from it."""
    last = max(index for index, node in enumerate(graph.node) if node.op_type == "MatMul")
    generator, read, nodes = np.random.default_rng(0), graph.node[last].input[0], []
    for number in range(layers):
        name = f"extra/{number}"
        for part, shape in (("up", (hidden, wide)), ("down", (wide, hidden))):
            values = (generator.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(values, f"{name}/{part}"))
        nodes += [
            helper.make_node("MatMul", [read, f"{name}/up"], [f"{name}/wide"]),
            helper.make_node("Tanh", [f"{name}/wide"], [f"{name}/bent"]),
            helper.make_node("MatMul", [f"{name}/bent", f"{name}/down"], [f"{name}/narrow"]),
            helper.make_node("Add", [read, f"{name}/narrow"], [f"{name}/sum"]),
        ]
        read = f"{name}/sum"
    graph.node[last].input[0] = read
    for offset, node in enumerate(nodes):
        graph.node.insert(last + offset, node)


def run_demo(folder: Path) -> tuple[list[Result], float]:
    """Run the demo into an empty folder; its results and the seconds that it took."""
    begin = time.perf_counter()
    os.environ[cache.VARIABLE] = str(folder / "shared")  # or else a second demo would find what the first made
    qb.run(load_config(embedded.CONFIG), out=folder)
    return Store(folder).results(), time.perf_counter() - begin


def load_on_and_off(wanted: bool) -> AbstractContextManager[None]:
    """A second process that uses one core for half a second to three seconds at a time, with pauses as long."""
    return beside(burn_on_and_off if wanted else None)


@contextmanager
def beside(work: Callable[[int], None] | None, processes: int = 1) -> Iterator[None]:
    """Processes that do some work meanwhile, each given its number; none where the work is None."""
    started = []
    try:
        for number in range(processes if work else 0):
            started.append(multiprocessing.get_context("spawn").Process(target=work, args=(number,), daemon=True))
            started[-1].start()
        yield
    finally:
        for process in started:
            process.kill()
            process.join()


def burn_always(_: int) -> None:
    """Use one core until killed, or the parent is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pass


def copy_always(_: int) -> None:
    """Move memory that no cache holds until killed, or the parent is gone."""
    parent = os.getppid()
    source = np.ones(COPIED_BYTES // 8)
    target = np.empty_like(source)
    while os.getppid() == parent:
        np.copyto(target, source)


def burn_on_and_off(number: int) -> None:
    """Use one core with pauses until killed, or the parent is gone, which a killed benchmark cannot tell."""
    generator, parent = random.Random(1 + number), os.getppid()
    while os.getppid() == parent:
        end = time.monotonic() + generator.uniform(0.5, 3)
        while time.monotonic() < end:
            pass
        time.sleep(generator.uniform(0.5, 3))

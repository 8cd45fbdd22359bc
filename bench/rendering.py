"""How long ``quantbench card`` takes on a folder of many results.

    python -m bench rendering --results 1000 --examples 2000

Results are made up: a grid on the embedded model, outcomes drawn for every run, slots as in 15 s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from quantbench import embedded
from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.results.store import Store
from quantbench.schema.results import ArmLatency, Artifact, Environment, Latency, Result, Run, Scores, Slot
from quantbench.schema.settings import Config
from quantbench.system.environment import detect
from quantbench.tasks.token_classification import COLUMNS, metrics

ROUNDS, CALLS = 85, 4
"""In 15 s of slots of 100 ms and a little."""
ARMS = {"pytorch": 40.0, "onnx-float": 30.0, "optimized": 15.0, "null": 40.0}
WORDS = 12
"""Of a sentence."""


def main(arguments: Sequence[str]) -> None:
    """Make the folder, render its card and print the seconds of each."""
    parser = argparse.ArgumentParser(prog="python -m bench rendering", description=__doc__)
    parser.add_argument("--results", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where it is left; by default it is removed")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary) / "results"
        if not folder.exists():
            write(folder, given.results, given.examples)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "quantbench", "card", str(folder)], check=True)
        seconds = time.perf_counter() - began
    print(f"{given.results} results of {given.examples} examples: {seconds:.1f} s")


def write(folder: Path, results: int, examples: int) -> None:
    """A folder of made-up results."""
    config = grid(results)
    store = Store(folder)
    store.open(config)
    generator = np.random.default_rng(0)
    environment = detect()
    original = scores(generator, examples)
    for run in make_plan(config).runs:
        result = made(run, environment, latency(generator))
        arms = {"original": original, "onnx-float": original, "optimized": scores(generator, examples)}
        store.save(result.model_copy(update={"scores": arms}))


def made(run: Run, environment: Environment, measured: Latency) -> Result:
    """A result of a run that was timed and not scored."""
    artifact = Artifact(
        path=f"models/{run.name}/model.onnx",
        sha256="0" * 64,
        bytes=1_000_000,
        recipe={"activation_type": "uint8", "weight_type": "int8"},
        excluded={},
        operators={"Add": 40, "MatMul": 49},
        executed={"QLinearAdd": 40, "QLinearMatMul": 49},
        graph=run.key,
    )
    return Result(
        run=run,
        environment=environment,
        sources={"model": "a" * 64},
        model_type="bert",
        artifact=artifact,
        float_artifact={"bytes": 4_000_000, "sha256": "f" * 64, "graph": "f" * 64},
        latency=(measured,),
    )


def grid(results: int) -> Config:
    """The demo's configuration with as many values of a parameter as there are to be results."""
    counts = list(range(1, results + 1))
    varied = f"benchmarked.calibration.num_calibration_samples={counts}"
    return load_config(embedded.CONFIG, ["benchmarked.node_exclusion=[[]]", varied])


def scores(generator: np.random.Generator, examples: int) -> Scores:
    """Counts of entities and words of every sentence."""
    predicted, reference = generator.integers(0, 4, (2, examples))
    right = generator.integers(0, WORDS, examples)
    counts = (np.minimum(predicted, reference), predicted, reference, right, np.full(examples, WORDS))
    outcomes = np.stack(counts, axis=1)
    values = {name: float(value) for name, value in metrics(COLUMNS, outcomes, np.ones(examples)).items()}
    rows = tuple(map(tuple, outcomes.tolist()))
    return Scores(metrics=values, examples=examples, changed=1, columns=COLUMNS, outcomes=rows)


def latency(generator: np.random.Generator) -> Latency:
    """Four arms with noise of 1 %."""
    arms = {}
    for milliseconds, name in zip(ARMS.values(), ARMS, strict=True):
        nanoseconds = 1e6 * milliseconds * np.exp(generator.normal(0, 0.01, (ROUNDS, CALLS)))
        slots = tuple(_slots(nanoseconds.astype(int).tolist()))
        arms[name] = ArmLatency(slots=slots, load_seconds=(0.1,), first_call_seconds=(0.1,), peak_memory_bytes=(10**8,))
    return Latency(batch_size=4, input_length=64, arms=arms)


def _slots(nanoseconds: Sequence[Sequence[int]]) -> Iterator[Slot]:
    for number, calls in enumerate(nanoseconds):
        yield Slot(round=number, order=4 * number, nanoseconds=tuple(calls), load=0.5, steal_seconds=0.0)

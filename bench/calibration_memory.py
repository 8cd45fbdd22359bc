"""Peak memory of collecting ranges at 64 and at 512 samples, each in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import stages

from quantbench import embedded
from quantbench.config.keys import combinations
from quantbench.config.load import load_config
from quantbench.pipeline.calibrate import choose_samples, ranges
from quantbench.pipeline.load import load_model, load_split
from quantbench.reports._markdown import table

METHODS = ("minmax", "entropy", "percentile")
SAMPLES = (64, 512)


def report() -> str:
    """Markdown table: peak memory by method and number of samples, and the ratio."""
    with tempfile.TemporaryDirectory() as cache:
        _measure("none", 1, cache)  # exports the model, so that the processes that are measured do not
        base = _measure("none", 1, cache)
        rows = []
        for method in METHODS:
            few, many = (_measure(method, samples, cache) for samples in SAMPLES)
            growth = many["mib"] / few["mib"]
            rows.append([method, *(f"{m['mib']:.0f}" for m in (few, many)), f"{growth:.3f}", f"{many['seconds']:.1f}"])
    header = ["method", *(f"{samples} samples, MiB" for samples in SAMPLES), "ratio", "seconds at 512"]
    return (
        "## Peak memory of calibration\n\nEmbedded model and data, unpadded; peak resident size of the process, "
        f"which is {base['mib']:.0f} MiB before ranges are collected.\n\n" + table(header, rows)
    )


def _measure(method: str, samples: int, cache: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.calibration_memory", method, str(samples), cache]
    measured: dict[str, float] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return measured


def _child(method: str, samples: int, cache: str) -> None:
    """Collect ranges once; ``none`` only prepares everything. The float export is made by the first process."""
    calibration = (
        f"calibration={{method: {'minmax' if method == 'none' else method}, num_calibration_samples: {samples}}}"
    )
    config = load_config(embedded.CONFIG, [calibration])
    _, settings = next(combinations(config))
    context = stages.context_at(Path(cache))
    model, exported = load_model(settings.sources, context), stages.float_model(settings, context)
    chosen = choose_samples(settings.sources, settings.calibration, model, context)
    load_split(settings.dataset, "calibration", context)
    begin = time.perf_counter()
    if method != "none":
        ranges(exported, chosen, settings.calibration, context)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"mib": peak, "seconds": time.perf_counter() - begin}))


if __name__ == "__main__":
    _child(sys.argv[1], int(sys.argv[2]), sys.argv[3])

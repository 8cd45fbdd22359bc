"""Searches that end with a version to deploy, however busy the machine is."""

import json
from pathlib import Path

from tests.support.command import quantbench

SECONDS = (1, 5, 20)
"""Durations of timing, from the shortest: none is deployed before it is known to be faster, which takes slots."""

OF_ONNXRUNTIME = [
    "onnxruntime-dynamic",
    "onnxruntime-dynamic-merged",
    "onnxruntime-static",
    "onnxruntime-static-merged",
    "onnxruntime-float32",
]
"""Candidates that ONNX Runtime has on every host."""


def deployed_by(config, folder: Path, *arguments):
    """The finished command of the first search that deploys a version, and its output folder."""
    for seconds in SECONDS:
        out = folder / f"out-{seconds}"
        duration = f"time_benchmark_args.duration={seconds}"
        done = quantbench("tune", config, "--out", out, "--set", duration, *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
        if json.loads((out / "summary.json").read_text())["best"]:
            return done, out
    raise AssertionError(f"no version is known to be faster: {done.stdout}")

"""A random encoder whose float32 weights are over 2 GiB, through run, check and tune: seconds, peak memory and sizes.

    python -m bench large --layers 24

XLM-RoBERTa large with drawn weights on drawn texts with two labels. Memory is that of all
processes, pages that several of them map counted once (``Pss`` of ``/proc/PID/smaps_rollup``), looked at once a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = Path("runs/large")
ROWS = 40
WORDS = ("red", "green", "blue", "black")
SET = (
    "time_benchmark_args.duration=5",
    "batch_sizes=[1]",
    "input_lengths=[32]",
    "calibration.num_calibration_samples=4",
)
GRID = "benchmarked.quantization_approach=[static, dynamic]"
LARGE = {"vocab_size": 250_002, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
POLL_SECONDS = 1.0


def main(arguments: Sequence[str]) -> None:
    """Make the model, do the jobs and print what they took."""
    parser = argparse.ArgumentParser(prog="python -m bench large", description=__doc__)
    parser.add_argument("--layers", type=int, default=24, help="24 are XLM-R large's, 2.2 GB in float32; 48 are 3.5 GB")
    parser.add_argument("--half", action="store_true", help="save the checkpoint in half precision")
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    name = f"{given.layers}-half" if given.half else str(given.layers)
    model, data = given.folder / f"model-{name}", given.folder / "data"
    if not model.exists():
        count = write_model(model, given.layers, given.half)
        (model / "weights").write_text(str(count))
    write_data(data)
    size = 4 * int((model / "weights").read_text())
    print(f"{size / 1e9:.2f} GB in float32", flush=True)
    for job in given.jobs:
        whole = [*JOBS[job](model, data, given.folder / f"run-{name}"), "--out", str(given.folder / f"{job}-{name}")]
        seconds, held, code = measured(whole, given.folder)
        peak = sum(part for _, part in held)
        parts = " + ".join(f"{part / 1e9:.1f} {what}" for what, part in sorted(held, key=lambda one: -one[1]))
        print(
            f"{job}: exit {code}, {seconds:.0f} s, peak {peak / 1e9:.1f} GB ({peak / size:.2f} times: {parts})",
            flush=True,
        )


def _settings(values: Sequence[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def _run(model: Path, data: Path, _: Path) -> list[str]:
    return ["run", str(model), str(data), *_settings((*SET, GRID))]


def _check(model: Path, data: Path, run: Path) -> list[str]:
    """Of what the run has made."""
    return ["check", *map(str, run.glob("models/*/model.onnx")), "--original", str(model), str(data)]


def _tune(model: Path, data: Path, _: Path) -> list[str]:
    return ["tune", str(model), str(data), *_settings(SET)]


JOBS = {"run": _run, "check": _check, "tune": _tune}


def write_model(folder: Path, layers: int, half: bool) -> int:
    """A checkpoint with drawn weights; how many there are."""
    import torch
    from tests.support.fitted import tiny_tokenizer
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    config = XLMRobertaConfig(**LARGE, num_hidden_layers=layers, max_position_embeddings=514, pad_token_id=0)
    model = XLMRobertaForSequenceClassification(config)
    count = int(sum(weight.numel() for weight in model.parameters()))
    (model.half() if half else model).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return count


def write_data(folder: Path) -> None:
    """Two splits of drawn words with labels."""
    folder.mkdir(parents=True, exist_ok=True)
    chooser = random.Random(0)
    for split in ("train", "test"):
        texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(4, 40))) for _ in range(ROWS)]
        rows = [{"text": text, "label": f"LABEL_{number % 2}"} for number, text in enumerate(texts)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def measured(arguments: Sequence[str], folder: Path) -> tuple[float, list[tuple[str, int]], int]:
    """Seconds, what each process held when they held most together, in bytes, and exit code of a command."""
    environment = {**os.environ, "QUANTBENCH_CACHE": str(folder / "cache")}
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "quantbench", *arguments], env=environment)
    with _watched(process.pid) as peak:
        code = process.wait()
    return time.monotonic() - began, peak, code


@contextmanager
def _watched(pid: int) -> Iterator[list[tuple[str, int]]]:
    """The memory of a process and its descendants, each, when they held most together."""
    import psutil

    most: list[tuple[str, int]] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(POLL_SECONDS):
            try:
                root = psutil.Process(pid)
                held = [(_role(each), _pss(each)) for each in (root, *root.children(recursive=True))]
            except psutil.NoSuchProcess:
                continue
            if sum(part for _, part in held) > sum(part for _, part in most):
                most[:] = held

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def _role(process: Any) -> str:
    """What a process is for: the module that it runs, and the runtime of a timed one."""
    words = process.cmdline()
    module = words[words.index("-m") + 1].rpartition(".")[2] if "-m" in words else "process"
    return " ".join([module, *(word for word in words if word in ("pytorch", "onnxruntime", "openvino"))])


def _pss(process: Any) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

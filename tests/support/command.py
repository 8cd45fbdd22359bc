"""Running the command as a user does, in a process of its own."""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
HUB = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}


def quantbench(*arguments, cwd: Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``quantbench ARGUMENTS`` in ``cwd`` with the hub's variables cleared and ``environment`` added.

    The process is forked from one that has the libraries loaded, unless it has variables that are read before or while
    they are loaded: those of the hub and of Python.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables = {**clean, **HUB, **environment}
    words = [str(argument) for argument in arguments]
    if any(name.startswith(("HF_", "PYTHON")) for name in environment):
        command = [sys.executable, "-m", "quantbench", *words]
        return subprocess.run(
            command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=timeout, check=False
        )
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        wanted = {"arguments": words, "cwd": str(cwd), "environment": variables, "timeout": timeout}
        code = _forked({**wanted, **{path.name: str(path) for path in streams}})
        texts = [path.read_text() if path.exists() else "" for path in streams]
    return subprocess.CompletedProcess(words, code, *texts)


def _forked(wanted) -> int:
    process = _zygote()
    process.stdin.write(json.dumps(wanted) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the process that commands are forked from has ended"
    return int(answer)


@functools.cache
def _zygote() -> subprocess.Popen[str]:
    """The process that commands are forked from; it ends with this one, whose end closes its standard input."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.zygote"],
        cwd=ROOT,
        env={**clean, **HUB},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

"""The entry point of a SageMaker training container: a job's folder in, a result and a model out.

Contract (Amazon SageMaker AI Developer Guide, "How Amazon SageMaker AI Provides Training Information" and "… Signals
Algorithm Success and Failure"), below ``/opt/ml``:

    input/config/hyperparameters.json   texts only: which channel holds what
    input/config/resourceconfig.json    host names, instance type
    input/data/<channel>/               ``config`` with job.json; inputs of the run, each in a channel of its own
    model/                              what becomes model.tar.gz
    output/data/                        what becomes output.tar.gz: result.json
    output/failure                      why it failed; its first 1,024 characters become FailureReason

Exit code 0 makes the job Completed, any other Failed. A run that cannot be finished fails the job with its reason, and
its result is there all the same.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from rich.console import Console

from quantbench.errors import EXIT_SOME_FAILED
from quantbench.launchers._aws import CONFIG_CHANNEL, JOB_FILE, RESULT_FILE
from quantbench.pipeline import worker
from quantbench.schema.results import Job, Result
from quantbench.system import cache
from quantbench.system.progress import Bars
from quantbench.system.writing import write_atomically

ROOT = "QUANTBENCH_ML_ROOT"
"""Environment variable that names another folder than ``/opt/ml``."""
REASON_LENGTH = 1024


def main() -> int:
    """Run the job of the container; its exit code."""
    root = Path(os.environ.get(ROOT, "/opt/ml"))
    try:
        result = run(root)
    except Exception as error:  # whatever it is: the one who waits sees only the failure file
        traceback.print_exc()
        return _fail(root, f"{type(error).__name__}: {error}")
    return 0 if result.failure is None else _fail(root, f"{result.failure.stage}: {result.failure.reason}")


def run(root: Path) -> Result:
    """Execute the job below ``root``, write result and model to where the platform takes them from."""
    inputs = root / "input" / "data"
    job = Job.model_validate_json((inputs / CONFIG_CHANNEL / JOB_FILE).read_bytes())
    job = job.model_copy(update={"places": {name: _there(inputs / place) for name, place in job.places.items()}})
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        context = worker.context_for(job.run.settings, cache.folder(), Bars(Console(stderr=True)))
        result = worker.execute_job(job, Path(scratch), context)
        if result.artifact is not None:
            source = (Path(scratch) / result.artifact.path).parent
            shutil.copytree(source, root / "model", dirs_exist_ok=True)
    result = result.model_copy(update={"job": {**result.job, **_resources(root)}})
    write_atomically(root / "output" / "data" / RESULT_FILE, result.model_dump_json().encode())
    return result


def _there(place: Path) -> str:
    """A channel's folder, or the one file that was sent in it (a place then ends in the file's name)."""
    if not place.exists():
        raise FileNotFoundError(f"channel of an input is missing: {place}")
    return str(place)


def _resources(root: Path) -> dict[str, str]:
    """What kind of machine the platform says this is."""
    try:
        told = json.loads((root / "input" / "config" / "resourceconfig.json").read_bytes())
    except (OSError, ValueError):
        return {}
    kind = told.get("current_instance_type")
    return {"instance_type": str(kind)} if kind else {}


def _fail(root: Path, reason: str) -> int:
    write_atomically(root / "output" / "failure", reason[:REASON_LENGTH].encode())
    return EXIT_SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())
